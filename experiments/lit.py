"""LiT L/16: BERT learns to say what a ViT that nobody changes sees.

Method: Zhai et al., 2022, https://arxiv.org/abs/2111.07991, its public models on CC12M and YFCC100M
(https://github.com/google-research/vision_transformer, model_cards/lit.md): the ViT-L/16 that was
trained on ImageNet-21k with augmentation (https://arxiv.org/abs/2106.10270) is locked and has no
projection; BERT large with one reads 16 of its own words; images at 224 pixels from -1 to 1. As in
the authors' code (big_vision, configs/proj/image_text): Adafactor with peak 1e-3, cosine, gradients
clipped to norm 1, temperature from 10; 60,000 steps, as their B16B_2.
Not said there, here: batch 16,384; weight decay 1e-4; warm-up of 3 %. Different: softmax with a
temperature from 0.07; no augmentation; no dropout in BERT.
Cost: 152 GFLOPs a pair and training step, 1.5e20 in all; the authors took a day on 64 TPU v4.
Planned (`vlp plan`: GB a device, a step by a roofline, the whole run; nothing was run):
  lit/L/16 on v4:4x4x4: 7.4 of 34.4 GB, 381 ms, 0.26 days
  lit/L/16 on h100:8: 14.8 of 84.9 GB, 804 ms, 0.56 days
Expected on ImageNet without training there: 75.7 % top-1 (the model card); nobody has run this yet.

  vlp train --config=experiments/lit.py:data=PATTERN,image=timm:AUGREG,bert=BERT_LARGE \
    --workdir=runs/lit

Arguments: `data` (as in own_data.py); `image`: weights of a ViT of that size, such as a folder of
timm's vit_large_patch16_224.augreg_in21k; `bert`: a folder of bert-large-uncased, whose words and
blocks the text begins with; `model` (a preset, "lit/L/16" or "lit/B/16"); `steps`; `batch`
(global).
"""

from ml_collections import ConfigDict

from experiments.common import BERT_TOKENS, PLAIN, base_config, check_given, parse_arg


def get_config(arg: str = "") -> ConfigDict:
    """The config of the text tower's run."""
    args = parse_arg(arg, data="", image="", bert="", model="lit/L/16", steps=60_000, batch=16384)
    check_given(
        args, "data", "image", "bert",
        example="lit.py:data=shards/*.tar,image=timm:vit-l-16,bert=bert-large-uncased",
    )  # fmt: skip
    config = base_config()
    config.data.train = args.data
    config.augment = ConfigDict(PLAIN)
    config.tokenizer.update(path=args.bert, length=16, **BERT_TOKENS)
    config.model = ConfigDict(
        dict(preset=args.model, precision="bfloat16", text=dict(remat="full"))
    )
    config.init.update(path=args.image, only=("image/.*",))
    config.init.text = ConfigDict(dict(path=f"hf:{args.bert}", only=("text/.*",)))
    config.optim.optimizer = ConfigDict(
        dict(name="adafactor", b2=0.999, weight_decay=1e-4, clip_norm=1.0)
    )
    config.optim.schedule = ConfigDict(
        dict(name="cosine", peak=1e-3, warmup=f"{3 * args.steps // 100} steps")
    )
    config.optim.freeze = ("image/.*",)
    config.train.update(total=f"{args.steps} steps", global_batch_size=args.batch)
    config.checkpoint.every = "2000 steps"
    return config
