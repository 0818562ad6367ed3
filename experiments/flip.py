"""FLIP L/16: CLIP that looks at half of each picture's patches, and at all of them in the end.

Method: Li et al., 2022, https://arxiv.org/abs/2212.00794, section 3 and
https://github.com/facebookresearch/flip (`configs/default.py`, README): batch 65,536; 12.8 billion
samples (10,000 times ImageNet's 1,281,167) with half of the patches, peak 4e-6 a 256 samples, 40
of those for warm-up, a cosine to 0; then 100 more with all patches and peak 4e-8 a 256, of which 20
warm up. AdamW with betas 0.9 and 0.95, weight decay 0.2 spared from biases, norms and tokens;
32 of BERT's words, read all at once; sines for positions; crops of half to all of a picture, sides
at 3 / 4 to 4 / 3, flips; ImageNet's mean and deviation; temperature from 0.07.
Different: the mean of the tokens leaves out the class token; texts begin with [CLS], where the
authors pool the first word, and end with [SEP]; bfloat16, where their arrays are float32.
Cost: 199 GFLOPs a pair and training step with half of the patches, 386 with all; 2.6e21 in all; the
authors took 256 cores of TPU v3, which are 128 chips.
Planned (`vlp plan`: GB a device, a step by a roofline, the whole run; nothing was run):
  masked on v4:4x4x8: 17.1 of 34.4 GB, 1,013 ms, 2.3 days
  masked on h100:64: 20.2 of 84.9 GB, 630 ms, 1.4 days
  tuned on v4:4x4x8: 26.8 of 34.4 GB, 1,985 ms, 0.045 days
  tuned on h100:64: 36.5 of 84.9 GB, 1,319 ms, 0.03 days
Expected on ImageNet without training there: 74.3 % top-1 on LAION-400M, tuned (the README); nobody
has run this yet.

  vlp train --config=experiments/flip.py:stage=masked,data=PATTERN,bert=BERT --workdir=runs/masked
  vlp train --config=experiments/flip.py:stage=tuned,data=PATTERN,bert=BERT,init=runs/masked \
    --workdir=runs/flip

Arguments: `stage`; `data` (as in own_data.py); `bert`: a folder of bert-base-uncased, or its
vocab.txt; `init`: the run of the stage before; `model` (a preset of the family "flip"); `batch`
(global). One run with its last part unmasked, on one cosine, is `--config.train.unmasked_tuning`.
"""

from ml_collections import ConfigDict

from experiments.common import (
    BERT_TOKENS,
    IMAGENET,
    IMAGENET_PIXELS,
    base_config,
    check_given,
    chosen,
    parse_arg,
)

# Share of the patches left out; such epochs in all and of warm-up; learning rate for 256 pairs.
STAGES = {"masked": (0.5, 10_000, 40, 4e-6), "tuned": (0.0, 100, 20, 4e-8)}


def get_config(arg: str = "") -> ConfigDict:
    """The config of one stage."""
    args = parse_arg(arg, stage="masked", data="", bert="", init="", model="flip/L/16", batch=65536)
    drop, epochs, warmup, rate = chosen("stage", args.stage, STAGES)
    needs = ("data", "bert", "init") if args.stage == "tuned" else ("data", "bert")
    check_given(
        args, *needs,
        example=f"flip.py:stage={args.stage},data=shards/*.tar,bert=bert-base-uncased,init=runs/a",
    )  # fmt: skip
    config = base_config()
    config.data.train = args.data
    config.preprocess.update(size=224, resize="shortest", **IMAGENET_PIXELS)
    config.augment = ConfigDict(dict(crop=(0.5, 1.0), flip_p=0.5))
    config.tokenizer.update(path=args.bert, length=32, extra=1, **BERT_TOKENS)
    config.model = ConfigDict(dict(preset=args.model, precision="bfloat16", remat="full"))
    config.init.path = args.init
    config.objective.patch_drop = drop
    config.optim.optimizer = ConfigDict(
        dict(name="adamw", b2=0.95, weight_decay=0.2, clip_norm=None)
    )
    config.optim.schedule = ConfigDict(
        dict(name="cosine", peak=rate * args.batch / 256, warmup=f"{warmup * IMAGENET} samples")
    )
    config.train.update(total=f"{epochs * IMAGENET} samples", global_batch_size=args.batch)
    config.checkpoint.every = "2000 steps"
    return config
