"""CLIP or SigLIP on your own image-text pairs: from scratch, or on from weights, with one line.

  vlp train --config=experiments/own_data.py:data=PATTERN --workdir=runs/mine
  vlp train --config=experiments/own_data.py:data=PATTERN,init=hf:FOLDER,epochs=3 --workdir=runs/ft
  vlp train --config=experiments/own_data.py:data=PATTERN,model=siglip/ViT-B/16,res=256,batch=4096,\
dtype=bfloat16,remat=full --workdir=runs/large

PATTERN is a tar or several in WebDataset's layout (`pairs.tar`, `shards/*.tar`,
`shards/{0000..0012}.tar`, in quotes: a shell takes braces apart), a folder of images with a
`captions.csv`, or another form that docs/data.md lists: parquet, `datasets`, TFDS, DataComp.

Arguments: `data`; `labelled` (images with classes in place of captions, same forms) and `label`
(the field with the class; `cls`, the name of the folder, unless given); `eval` (pairs to judge
retrieval on, same forms); `model` (a preset such as `clip/ViT-B/32`, `clip/RN50`,
`siglip/ViT-B/16`; default a ViT-S/16 that trains on one GPU); `res` (pixels); `batch` (global batch
size); `epochs`; `lr` (1e-3; 1e-5 with `init`); `dtype` of both towers (`bfloat16` halves their
memory and more than doubles their speed on GPUs and TPUs); `remat` of both towers (`full` or
`dots`: computes activations again instead of keeping them); `tokenizer` (`clip`, a .model file of
SentencePiece or a folder with tokenizer.json; else one of `vocab` pieces is trained on your
captions); `length` (tokens a caption; 32 with a tokenizer of your own, else as the model's family
has it); `init`: weights to go on from, a run or `hf:FOLDER`, `open_clip:FOLDER`, `timm:FOLDER`:
architecture, pixels, tokenizer and objective are theirs then, unless you say others (with an image
tower alone `model` names a preset for the rest).

Method: Radford et al., 2021, https://arxiv.org/abs/2103.00020, or Zhai et al., 2023,
https://arxiv.org/abs/2303.15343, by the preset's family.
Cost and score: yours to tell; ViT-S/16 at 224 pixels is 17 GFLOPs a pair and training step.
"""

from ml_collections import ConfigDict

from experiments.common import PHOTO, base_config, begin_with, naflex_pixels, parse_arg


def get_config(arg: str = "") -> ConfigDict:
    """The config of a run on the pairs that `data=` names."""
    args = parse_arg(
        arg,
        data="",
        labelled="",
        label="cls",
        eval="",
        model="",
        res=0,
        batch=256,
        epochs=30.0,
        lr=0.0,
        dtype="",
        remat="",
        tokenizer="",
        length=0,
        vocab=8192,
        init="",
    )
    if not args.data and not args.labelled:
        raise ValueError("own_data.py needs data=PATTERN, e.g. own_data.py:data=shards/*.tar")
    config = base_config()
    config.data.train = args.data
    if args.labelled:
        config.data.update(labelled=args.labelled, label_field=args.label)
    config.augment = ConfigDict(PHOTO)
    if args.init:
        begin_with(config, args.init)
    if args.model or not args.init:
        config.model.preset = args.model or "clip/ViT-S/16"
        config.objective.name = "siglip" if args.model.startswith("siglip") else "clip"
        config.tokenizer.vocab_size = args.vocab
    if args.model.startswith("siglip2_naflex/"):
        config.preprocess = naflex_pixels(args.model)
    if args.tokenizer:
        length = 64 if args.model.startswith("siglip") else 77
        config.tokenizer = ConfigDict(dict(path=args.tokenizer, length=length))
    if args.length:
        config.tokenizer.length = args.length
    if args.res:
        config.preprocess.size = args.res
    shared = {"precision": args.dtype, "remat": args.remat}
    config.model.update({name: value for name, value in shared.items() if value})
    config.optim.optimizer = ConfigDict(dict(name="adamw", b2=0.98, weight_decay=0.1))
    peak = args.lr or (1e-5 if args.init else 1e-3)
    warmup = f"{min(1.0, args.epochs / 4):g} epochs"
    config.optim.schedule = ConfigDict(dict(name="cosine", peak=peak, warmup=warmup))
    config.train.total = f"{args.epochs:g} epochs"
    config.train.global_batch_size = args.batch
    if args.eval:
        config.evals = ConfigDict(
            dict(held_out=dict(task="retrieval", data=args.eval, every="5 epochs"))
        )
        config.report.data = args.eval
    return config
