"""CatLIP: a vision transformer learns the nouns of captions, from raw tars to a trained tower.

  vlp data label --data=PATTERN --wordnet=WordNet-3.0/dict --out=labelled
  wc -l labelled/vocabulary.txt
  vlp train --config=experiments/catlip.py:data=labelled,labels=24320 --workdir=runs/catlip

PATTERN is as in own_data.py. The job writes the samples that have a label, and the vocabulary, one
label a line; `labels` is the number of its lines. It takes synsets that 500 captions have or more.

Method: Mehta et al., 2024, https://arxiv.org/abs/2404.15653: no text tower, no contrast; a binary
cross entropy for each label, added up. Numbers are those of the released configs for DataComp
(https://github.com/apple/corenet, `projects/catlip/pretraining`): 24,320 labels, 65,536 images,
200,000 steps, AdamW with weight decay 0.2, 1e-3 after 10,000 steps by a cosine to 1e-5, gradients
clipped to 1, an average of the weights at 0.0005, crops of Inception and flips at 224 pixels.
Different: pictures of one size in place of 25 of 128 to 320 pixels; no learned augmentation
(RangeAugment); nouns by a list of words in place of a tagger of parts of speech; bfloat16.
Cost: 106, 370 and 763 GFLOPs an image and training step for B, L and H; 13.1 billion images.
Expected on ImageNet, fine-tuned there (the paper's table 1): B/16 84.3 %, H/16 86.7 %; nobody has
run this.

Arguments: `data`; `labels`; `model` (a key of `SIZES`); `res` (pixels); `batch` (global); `steps`.
"""

from ml_collections import ConfigDict

from experiments.common import (
    IMAGENET_PIXELS,
    base_config,
    check_given,
    chosen,
    parse_arg,
)

# Width, blocks, heads.
SIZES = {"ViT-B/16": (768, 12, 12), "ViT-L/16": (1024, 24, 16), "ViT-H/16": (1280, 32, 16)}


def get_config(arg: str = "") -> ConfigDict:
    """The config of one model's run."""
    args = parse_arg(arg, data="", labels=0, model="ViT-B/16", res=224, batch=65536, steps=200_000)
    check_given(args, "data", "labels", example="catlip.py:data=labelled,labels=24320")
    width, depth, heads = chosen("model", args.model, SIZES)
    config = base_config()
    config.data.train = args.data
    config.preprocess.update(size=args.res, **IMAGENET_PIXELS)
    config.augment = ConfigDict(dict(crop=(0.08, 1.0), flip_p=0.5))
    config.model = ConfigDict(
        dict(
            kind="tagger",
            num_labels=args.labels,
            embed_dim=width,
            image_projection="none",
            image=dict(patch_size=16, width=width, depth=depth, num_heads=heads),
            precision="bfloat16",
            remat="full",
        )
    )
    config.model.text = None
    config.objective.name = "catlip"
    config.optim.optimizer = ConfigDict(
        dict(name="adamw", b2=0.999, weight_decay=0.2, clip_norm=1.0)
    )
    warmup = min(10_000, args.steps // 20)
    config.optim.schedule = ConfigDict(
        dict(name="cosine", peak=1e-3, warmup=f"{warmup} steps", end=1e-5)
    )
    config.train.update(total=f"{args.steps} steps", global_batch_size=args.batch, ema_decay=0.9995)
    config.checkpoint.every = "5000 steps"
    return config
