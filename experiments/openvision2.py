"""OpenVision 2 L/14: an image tower that learns from writing captions alone.

Method: Liu et al., 2025, https://arxiv.org/abs/2509.01644 and
https://github.com/UCSC-VLAA/OpenVision (`scripts/project/openvision2/train.sh`,
`src/configs/openvision2.py`): "small" sees 12.8 billion samples (10,000 times ImageNet's 1,281,167)
at 84 pixels in batches of 32,768, peak 8e-6 a 256; "tuned" 800 such epochs at 224 in batches of
16,384, peak 4e-7 a 256; warm-up for 40 and 20 of them, a cosine to 0. A decoder of twelve layers,
width 768, writes 128 of BERT's words from a random 35 % of the image's tokens; its loss weighs 2.
AdamW with betas 0.9 and 0.95, its first moments in bfloat16, and weight decay 0.2; sines for
positions; crops of 40 to 100 %, sides at 3 / 4 to 4 / 3, colours changed at strength 0.4;
ImageNet's mean and deviation; captions by a LLaMA-3 that saw picture and text (ReCap-DataComp-1B
v2).
Different: the later six of the decoder's layers read the image by attention of their own, where the
authors' have its tokens in front of the text's; losses are a mean over the tokens of the batch;
colours always change, and pictures never turn grey; bfloat16.
Cost: 181 and 604 GFLOPs a pair and training step in the two stages; 2.3e21 and 6.2e20 in all; the
authors took 57 hours on 256 chips of TPU v4 (their table 3).
Planned (`vlp plan`: GB a device, a step by a roofline, the whole run; nothing was run):
  small on v4:4x8x8: 9.0 of 34.4 GB, 294 ms, 1.3 days
  small on h100:64: 14.9 of 84.9 GB, 296 ms, 1.3 days
  tuned on v4:4x8x8: 12.1 of 34.4 GB, 459 ms, 0.33 days
  tuned on h100:64: 15.7 of 84.9 GB, 573 ms, 0.41 days
Expected under LLaVA-1.5 (their table 1, TextVQA, OCR): 59.0 and 327 for L/14 at 224 pixels; a tower
that compares with no text has no score on ImageNet. Nobody has run this yet.

  vlp train --config=experiments/openvision2.py:stage=small,data=PATTERN,bert=BERT \
    --workdir=runs/small
  vlp train --config=experiments/openvision2.py:stage=tuned,data=PATTERN,bert=BERT,init=runs/small \
    --workdir=runs/openvision2

Arguments: `stage`; `data` (as in own_data.py); `bert`: a folder of bert-base-uncased, or its
vocab.txt; `init`: the run of the stage before; `model` (a preset of the family "openvision2");
`res` (pixels); `batch` (global).
"""

from ml_collections import ConfigDict

from experiments.common import (
    BERT_TOKENS,
    IMAGENET,
    IMAGENET_PIXELS,
    STRONG_COLOURS,
    base_config,
    check_given,
    chosen,
    parse_arg,
)

# Pixels a side, global batch size; epochs of ImageNet's size in all and of warm-up; learning rate
# for 256 pairs.
STAGES = {"small": (84, 32_768, 10_000, 40, 8e-6), "tuned": (224, 16_384, 800, 20, 4e-7)}


def get_config(arg: str = "") -> ConfigDict:
    """The config of one stage."""
    args = parse_arg(
        arg, stage="small", data="", bert="", init="", model="openvision2/L/14", res=0, batch=0
    )
    size, batch, epochs, warmup, rate = chosen("stage", args.stage, STAGES)
    needs = ("data", "bert") if args.stage == "small" else ("data", "bert", "init")
    check_given(
        args, *needs,
        example=f"openvision2.py:stage={args.stage},data=shards/*.tar,bert=bert-base-uncased,"
        "init=runs/small",
    )  # fmt: skip
    config = base_config()
    config.data.train = args.data
    config.preprocess.update(
        size=args.res or size, resize="shortest", interpolation="bilinear", **IMAGENET_PIXELS
    )
    config.augment = ConfigDict(STRONG_COLOURS)
    # The authors' table has 32,000 entries for BERT's 30,522 words.
    config.tokenizer.update(path=args.bert, length=128, extra=1478, **BERT_TOKENS)
    config.model = ConfigDict(
        dict(preset=args.model, precision="bfloat16", remat="full", begin_id=101)
    )
    config.init.path = args.init
    config.objective.update(
        name="coca", contrastive_weight=0.0, caption_weight=2.0, token_drop=0.65
    )
    config.optim.optimizer = ConfigDict(
        dict(name="adamw", b2=0.95, mu_dtype="bfloat16", weight_decay=0.2, clip_norm=None)
    )
    batch = args.batch or batch
    config.optim.schedule = ConfigDict(
        dict(name="cosine", peak=rate * batch / 256, warmup=f"{warmup * IMAGENET} samples")
    )
    config.train.update(total=f"{epochs * IMAGENET} samples", global_batch_size=batch)
    config.checkpoint.every = "2000 steps"
    return config
