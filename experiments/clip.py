"""CLIP with the paper's numbers: the five models that OpenAI trained on 400 M pairs of the web.

Method: Radford et al., 2021, https://arxiv.org/abs/2103.00020, section 2 and tables 18 to 20: batch
32,768; 32 epochs; Adam with decoupled weight decay 0.2 of all but gains and biases; 2,000 steps of
warm-up, then a cosine to 0; temperature from 0.07, its inverse never over 100; 77 of CLIP's byte
pairs, counting both ends; pixels at CLIP's mean and deviation, the shorter side resized. L/14-336
is L/14 trained for one epoch more at 336 pixels, for which `init` is its run.
Not said there, here: cosine to 0; the warm-up of L/14-336. Different: bfloat16 in place of float16;
positions and the class token do not decay either; crops show 90 to 100 % of a picture, as
open_clip's, not a random square of its resized form.
Cost: 44, 123, 526, 1,185 and 151 GFLOPs a pair and training step in the order of `MODELS`; 5.7e20,
1.6e21, 6.7e21, 4.7e20 and 1.9e21 in all; the authors took 12 days on 256 V100 for L/14.
Planned (`vlp plan`: GB a device, a step by a roofline, the whole run; nothing was run):
  ViT-B/32 on a100:256: 3.0 of 85.1 GB, 65 ms, 0.3 days
  ViT-B/16 on a100:256: 4.6 of 85.1 GB, 155 ms, 0.7 days
  ViT-B/16 on h100:64: 11.9 of 84.9 GB, 256 ms, 1.2 days
  ViT-L/14 on a100:256: 11.4 of 85.1 GB, 577 ms, 2.6 days
  ViT-L/14 on v5e:16x16: 7.1 of 17.2 GB, 885 ms, 4 days
  ViT-L/14-336 on a100:256: 19.5 of 85.1 GB, 1,437 ms, 0.2 days
  ViT-L/14-336 on h100:64: 63.8 of 84.9 GB, 2,964 ms, 0.42 days
  RN50x4 on a100:256: 19.3 of 85.1 GB, 135 ms, 0.61 days
  RN50x4 on h100:64: 70.0 of 84.9 GB, 279 ms, 1.3 days
Expected on ImageNet without training there (the paper's table 11): 63.2, 68.6, 75.3, 76.2 and
65.8 % top-1; nobody has run this yet.

  vlp train --config=experiments/clip.py:model=ViT-L/14,data=PATTERN --workdir=runs/l14
  vlp train --config=experiments/clip.py:model=ViT-L/14-336,data=PATTERN,init=runs/l14 \
    --workdir=runs/l14-336

Arguments: `model` (a key of `MODELS`); `data` (as in own_data.py); `init`; `epochs`; `batch`
(global).
"""

from ml_collections import ConfigDict

from experiments.common import (
    CLIP_PIXELS,
    CLIP_TOKENS,
    base_config,
    check_given,
    chosen,
    parse_arg,
)

# Preset, pixels a side, highest learning rate, epochs.
MODELS = {
    "ViT-B/32": ("openai/ViT-B/32", 224, 5e-4, 32.0),
    "ViT-B/16": ("openai/ViT-B/16", 224, 5e-4, 32.0),
    "ViT-L/14": ("openai/ViT-L/14", 224, 4e-4, 32.0),
    "ViT-L/14-336": ("openai/ViT-L/14", 336, 2e-5, 1.0),
    "RN50x4": ("openai/RN50x4", 288, 5e-4, 32.0),
}


def get_config(arg: str = "") -> ConfigDict:
    """The config of one model's run."""
    args = parse_arg(arg, model="ViT-B/32", data="", init="", epochs=0.0, batch=32768)
    preset, size, peak, epochs = chosen("model", args.model, MODELS)
    goes_on = args.model == "ViT-L/14-336"
    needs = ("data", "init") if goes_on else ("data",)
    check_given(args, *needs, example=f"clip.py:model={args.model},data=shards/*.tar,init=runs/l14")
    config = base_config()
    config.data.train = args.data
    config.preprocess.update(size=size, resize="shortest", **CLIP_PIXELS)
    config.augment = ConfigDict(dict(crop=(0.9, 1.0)))
    config.tokenizer.update(CLIP_TOKENS)
    config.model = ConfigDict(dict(preset=preset, precision="bfloat16", remat="full"))
    config.init.path = args.init
    resnet = args.model.startswith("RN")
    moments = dict(b2=0.999, eps=1e-8) if resnet else dict(b2=0.98, eps=1e-6)
    config.optim.optimizer = ConfigDict(
        dict(name="adamw", b1=0.9, **moments, weight_decay=0.2, clip_norm=None)
    )
    config.optim.schedule = ConfigDict(dict(name="cosine", peak=peak, warmup="2000 steps"))
    config.train.update(total=f"{args.epochs or epochs:g} epochs", global_batch_size=args.batch)
    config.checkpoint.every = "2000 steps"
    return config
