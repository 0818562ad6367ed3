"""SigLIP with the paper's numbers: each pair on its own, B/16, L/16 at 256 pixels and So400m/14.

Method: Zhai et al., 2023, https://arxiv.org/abs/2303.15343, section 4: batch 32,768; towers of one
shape; 32,000 pieces of SentencePiece trained on the English C4; temperature from 10, bias from -10;
b2 0.95; pixels from -1 to 1, squashed to a square. Peak 1e-3, weight decay 1e-4, gradients clipped
to norm 1, a cosine behind 20,000 steps of warm-up and 40 billion samples are SigLIP 2's words for
the same recipe (https://arxiv.org/abs/2502.14786, section 2.1). Captions have 64 tokens; those of
So400m/14 at 224 pixels 16, as released.
Different: no augmentation; rows end with padding, id 0, where the authors repeat the end token; b1
is Adam's usual 0.9; WebLI is not public.
Cost: 139, 605 and 701 GFLOPs a pair and training step in the order of `MODELS`; 5.6e21, 2.4e22 and
2.8e22 in all; the paper's table 1 has a B/16 with 73.4 % after 5 days on 32 TPU v4.
Planned (`vlp plan`: GB a device, a step by a roofline, the whole run; nothing was run):
  ViT-B/16 on v4:2x4x4: 25.5 of 34.4 GB, 1,632 ms, 23 days
  ViT-B/16 on h100:8: 69.7 of 84.9 GB, 2,282 ms, 32 days
  ViT-L/16 on h100:64: 31.3 of 84.9 GB, 1,030 ms, 15 days
  ViT-L/16 on v5p:4x4x4: 37.0 of 102.0 GB, 1,493 ms, 21 days
  So400m/14 on h100:64: 37.0 of 84.9 GB, 1,148 ms, 16 days
  So400m/14 on v5p:4x4x4: 43.4 of 102.0 GB, 1,723 ms, 24 days
Expected on ImageNet without training there, of the released weights: 76.0, 80.5 and 82.0 % top-1
(open_clip, docs/openclip_results.csv); nobody has run this yet.

  vlp train --config=experiments/siglip.py:model=ViT-B/16,data=PATTERN,tokenizer=c4_en.model \
    --workdir=runs/siglip

Arguments: `model` (a key of `MODELS`); `data` (as in own_data.py); `tokenizer` (a .model file of
SentencePiece; else one is trained on the captions); `samples`; `batch` (global); `naflex` (256 or
another number of patches: pictures at their own aspect ratio, as many patches of each as fit, by
the tower of SigLIP 2's NaFlex models; without the other losses of that paper, and with one such
number for the whole run, where its authors draw one of five for a batch).
"""

from ml_collections import ConfigDict

from experiments.common import (
    PLAIN,
    base_config,
    check_given,
    chosen,
    naflex_pixels,
    parse_arg,
)

# Pixels a side and tokens a caption.
MODELS = {"ViT-B/16": (224, 64), "ViT-L/16": (256, 64), "So400m/14": (224, 16)}


def get_config(arg: str = "") -> ConfigDict:
    """The config of one model's run."""
    args = parse_arg(
        arg, model="ViT-B/16", data="", tokenizer="", samples=40e9, batch=32768, naflex=0
    )
    size, length = chosen("model", args.model, MODELS)
    check_given(args, "data", example=f"siglip.py:model={args.model},data=shards/*.tar")
    config = base_config()
    config.data.train = args.data
    config.preprocess.size = size
    config.augment = ConfigDict(PLAIN)
    config.tokenizer.update(path=args.tokenizer, vocab_size=32000, length=length)
    config.model = ConfigDict(
        dict(preset=f"siglip/{args.model}", precision="bfloat16", remat="full")
    )
    config.objective.name = "siglip"
    config.optim.optimizer = ConfigDict(
        dict(name="adamw", b2=0.95, weight_decay=1e-4, clip_norm=1.0)
    )
    config.optim.schedule = ConfigDict(dict(name="cosine", peak=1e-3, warmup="20000 steps"))
    config.train.update(total=f"{args.samples:g} samples", global_batch_size=args.batch)
    config.checkpoint.every = "2000 steps"
    if args.naflex:
        _keep_shapes(config, args.model, patches=args.naflex)
    return config


def _keep_shapes(config: ConfigDict, model: str, *, patches: int) -> None:
    """Pictures at their own aspect ratio, in at most so many patches."""
    config.preprocess = naflex_pixels(model, max_num_patches=patches)
    config.augment = ConfigDict()
    config.model.preset = f"siglip2_naflex/{model}"
