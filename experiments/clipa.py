"""CLIPA-v2 H/14: most of the training with 36 patches and 8 words, the rest with what is usual.

Method: Li et al., 2023, https://arxiv.org/abs/2306.15658 and https://github.com/UCSC-VLAA/CLIPA
(`clipa_jax/configs/model_h`): "small" sees 12.8 billion samples at 84 pixels (70 for the cheapest)
with 8 words in batches of 65,536, peak 8e-6 a 256 samples behind 3,200 steps; "tuned" 512 million
at 224 pixels with 32 words and 0.7 of the patches in batches of 32,768, peak 4e-7 a 256; "large"
128 million at 336 with 0.6 in batches of 16,384, peak 1e-7 a 256; both behind 26 million samples of
warm-up. AdamW with betas 0.9 and 0.95, its first moments in bfloat16, and weight decay 0.2, a
cosine to 0; crops of 40 to 100 %, sides at 3 / 4 to 4 / 3, colours changed at strength 0.4;
ImageNet's mean and deviation; judged on pictures squashed to a square.
Different: the first eight words are read, where the authors choose nouns first; texts end with
[SEP], which they leave out; colours always change, and pictures never turn grey; decay spares what
is no matrix.
Cost: 155, 754 and 1,428 GFLOPs a pair and training step in the three stages; 2.0e21, 4.0e20 and
1.9e20 in all; the authors took 256 cores of TPU v3, for what they put at 8,640 hours of an A100.
Planned (`vlp plan`: GB a device, a step by a roofline, the whole run; nothing was run):
  small on v4:4x4x8: 7.0 of 34.4 GB, 740 ms, 1.7 days
  small on h100:64: 8.3 of 84.9 GB, 436 ms, 0.99 days
  tuned on v4:4x4x8: 14.5 of 34.4 GB, 1,731 ms, 0.32 days
  tuned on h100:64: 19.7 of 84.9 GB, 1,110 ms, 0.21 days
  large on v4:4x4x8: 14.5 of 34.4 GB, 1,741 ms, 0.16 days
  large on h100:64: 20.4 of 84.9 GB, 1,165 ms, 0.11 days
Expected on ImageNet without training there, on DataComp-1B: 75.6, 81.5 and 81.8 % top-1 behind the
stages (their README); nobody has run this yet.

  vlp train --config=experiments/clipa.py:stage=small,data=PATTERN,bert=BERT --workdir=runs/small
  vlp train --config=experiments/clipa.py:stage=tuned,data=PATTERN,bert=BERT,init=runs/small \
    --workdir=runs/tuned
  vlp train --config=experiments/clipa.py:stage=large,data=PATTERN,bert=BERT,init=runs/tuned \
    --workdir=runs/large

Arguments: `stage`; `data` (as in own_data.py); `bert`: a folder of bert-base-uncased, or its
vocab.txt; `init`: the run of the stage before; `model` (a preset of the family "clipa"); `res`
(pixels); `batch` (global).
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

# Pixels a side, words, share of the patches left out, global batch size, samples, and of the
# learning rate: for 256 pairs, and samples of warm-up.
STAGES = {
    "small": (84, 8, 0.0, 65_536, 10_000 * IMAGENET, 8e-6, 3200 * 65_536),
    "tuned": (224, 32, 0.3, 32_768, 524_288_000, 4e-7, 26_214_400),
    "large": (336, 32, 0.4, 16_384, 131_072_000, 1e-7, 26_214_400),
}


def get_config(arg: str = "") -> ConfigDict:
    """The config of one stage."""
    args = parse_arg(
        arg, stage="small", data="", bert="", init="", model="clipa/H/14", res=0, batch=0
    )
    size, length, drop, batch, samples, rate, warmup = chosen("stage", args.stage, STAGES)
    needs = ("data", "bert") if args.stage == "small" else ("data", "bert", "init")
    check_given(
        args, *needs,
        example=f"clipa.py:stage={args.stage},data=shards/*.tar,bert=bert-base-uncased,init=runs/a",
    )  # fmt: skip
    config = base_config()
    config.data.train = args.data
    config.preprocess.update(size=args.res or size, interpolation="bilinear", **IMAGENET_PIXELS)
    config.augment = ConfigDict(STRONG_COLOURS)
    # The authors' table has 32,000 entries for BERT's 30,522 words.
    config.tokenizer.update(path=args.bert, length=length, extra=1478, **BERT_TOKENS)
    config.model = ConfigDict(dict(preset=args.model, precision="bfloat16", remat="full"))
    config.init.path = args.init
    config.objective.patch_drop = drop
    config.optim.optimizer = ConfigDict(
        dict(name="adamw", b2=0.95, mu_dtype="bfloat16", weight_decay=0.2, clip_norm=None)
    )
    batch = args.batch or batch
    config.optim.schedule = ConfigDict(
        dict(name="cosine", peak=rate * batch / 256, warmup=f"{warmup} samples")
    )
    config.train.update(total=f"{samples} samples", global_batch_size=batch)
    config.mesh.fsdp = 8
    config.checkpoint.every = "2000 steps"
    return config
