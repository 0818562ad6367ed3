"""CLIP or SigLIP on your own image-text pairs, from scratch, with one line.

  vlp train --config=experiments/own_data.py:data=PATTERN --workdir=runs/mine

PATTERN is a tar or several in WebDataset's layout (`pairs.tar`, `shards/*.tar`,
`shards/{0000..0012}.tar`), or a folder of images with a `captions.csv` or `captions.jsonl`.

Arguments: `data`; `eval` (pairs to judge retrieval on, same forms); `model` (a preset such as
`clip/ViT-B/32`, `clip/RN50`, `siglip/ViT-B/16`; default a ViT-S/16 that trains on one GPU); `res`
(pixels); `batch` (global batch size); `epochs`; `lr`; `vocab` (of the SentencePiece tokenizer that
is trained on your captions).

Method: Radford et al., 2021, https://arxiv.org/abs/2103.00020, or Zhai et al., 2023,
https://arxiv.org/abs/2303.15343, by the preset's family.
Cost and score: yours to tell; ViT-S/16 at 224 pixels is 17 GFLOPs a pair and training step.
"""

from ml_collections import ConfigDict

from experiments.common import PHOTO, base_config, parse_arg


def get_config(arg: str = "") -> ConfigDict:
    """The config of a run on the pairs that `data=` names."""
    args = parse_arg(
        arg,
        data="",
        eval="",
        model="clip/ViT-S/16",
        res=224,
        batch=256,
        epochs=30.0,
        lr=1e-3,
        vocab=8192,
    )
    if not args.data:
        raise ValueError("own_data.py needs data=PATTERN, e.g. own_data.py:data=shards/*.tar")
    family = args.model.split("/", 1)[0]
    config = base_config()
    config.data.train = args.data
    config.preprocess.size = args.res
    config.augment = ConfigDict(PHOTO)
    config.tokenizer.vocab_size = args.vocab
    config.model = ConfigDict(dict(preset=args.model))
    config.objective.name = "siglip" if family.startswith("siglip") else "clip"
    config.optim.optimizer = ConfigDict(dict(name="adamw", b2=0.98, weight_decay=0.1))
    config.optim.schedule = ConfigDict(dict(name="cosine", peak=args.lr, warmup="1 epochs"))
    config.train.total = f"{args.epochs:g} epochs"
    config.train.global_batch_size = args.batch
    if args.eval:
        config.evals = ConfigDict(
            dict(held_out=dict(task="retrieval", data=args.eval, every="5 epochs"))
        )
        config.report.data = args.eval
    return config
