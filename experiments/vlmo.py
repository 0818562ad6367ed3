"""VLMo in three stages: images, then texts, then pairs; each begins with the one before.

  vlp train --config=experiments/vlmo.py:stage=vision,data=PAIRS,tokenizer=BERT --workdir=runs/v
  vlp train --config=experiments/vlmo.py:stage=language,data=PAIRS,tokenizer=BERT,init=runs/v \
    --workdir=runs/l
  vlp train --config=experiments/vlmo.py:stage=pairs,data=PAIRS,tokenizer=BERT,init=runs/l \
    --workdir=runs/vlmo

PAIRS as in `experiments/own_data.py`, BERT the folder of bert-base-uncased, or its vocab.txt.

Arguments: `stage`; `data`; `tokenizer`; `init` (the run of the stage before); `size` ("base-plus",
"base", "large"); `eval` (pairs to judge retrieval on); `res` (pixels); `batch` (global batch size).

Stages: "vision" trains the attention and the experts for images by masked images, "language" the
experts for texts alone by masked words, "pairs" everything. What a stage freezes has no optimiser
state. Pairs may begin from nothing, which the paper compares with.

Method: Bao et al., 2022, https://arxiv.org/abs/2111.02358. Numbers of the stages "language" and
"pairs" are those of its released code (`vlmo/config.py`), those of "vision" those of BEiT for
ImageNet-22k (https://github.com/microsoft/unilm/tree/master/beit). As there, "base" and "large"
have relative positions, "base-plus" absolute ones. Departs: BEiT's image tokenizer gives way to
pixels, its blocks of hidden patches to single ones; images and texts of the first two stages are
those of pairs, not ImageNet-22k, Wikipedia and books; words are hidden token by token; no
stochastic depth; the first stage has the augmentation of the last.
Cost: 108, 22 and 668 GFLOPs a pair and training step of "base-plus" in the three stages; 1.4e20 for
the last, in which the authors saw 200,000 batches of 1,024 pairs (COCO, Visual Genome, SBU,
Conceptual Captions).
Planned (`vlp plan`: GB a device, a step by a roofline, the whole run; nothing was run):
  pairs on h100:64: 9.5 of 84.9 GB, 123 ms, 0.28 days
  pairs on a100:64: 8.4 of 85.1 GB, 202 ms, 0.47 days
Expected of "base" after fine-tuning (the paper's table of retrieval, recall at 1 of texts and
images): 74.8 and 57.2 on COCO, 92.3 and 79.3 on Flickr30K; nobody has run this yet.
"""

from ml_collections import ConfigDict

from experiments.common import base_config, chosen, parse_arg

SHARED = "multiway/norm/|multiway/(lower|upper)/blocks/"
# What a stage does not train. The second trains the norm behind all blocks, as the authors' does.
FREEZE = {
    "vision": (rf"(?!image/|pixel_head/|{SHARED}(?!(relative/)?(text|pair)\b)).*",),
    "language": (rf"(?!text/|token_head/|vocabulary/|{SHARED}(relative/)?text\b).*",),
    "pairs": ("image/mask_token", "pixel_head/.*"),
}
# Width, depth, heads, the first block with an expert for pairs, layer scale, positions, rate for
# pairs.
SIZES = {
    "base": (768, 12, 12, 10, 0.1, "relative", 2e-4),
    "base-plus": (544, 24, 16, 21, None, "absolute", 1e-4),
    "large": (1024, 24, 16, 21, 0.1, "relative", 5e-5),
}


def get_config(arg: str = "") -> ConfigDict:
    """The config of one stage."""
    args = parse_arg(
        arg,
        stage="pairs",
        data="",
        tokenizer="",
        init="",
        size="base-plus",
        eval="",
        res=224,
        batch=0,
    )
    for name, value in (("data", args.data), ("tokenizer", args.tokenizer)):
        if not value:
            raise ValueError(f"vlmo.py needs {name}=..., got none; see the file's first lines")
    width, depth, heads, fused_from, layer_scale, positions, rate = chosen("size", args.size, SIZES)
    config = base_config()
    config.data.train = args.data
    config.preprocess.size = args.res
    config.augment = ConfigDict(dict(crop=(0.5, 1.0), flip_p=0.5, randaugment=(2, 7)))
    config.tokenizer.update(path=args.tokenizer, vocab_size=30522, length=40, eos_id=102, pad_id=0)
    config.model = ConfigDict(
        dict(
            embed_dim=width,
            positions=positions,
            precision="bfloat16",
            image=dict(kind="patches", patch_size=16, width=width),
            text=dict(kind="words", width=width),
            multiway=dict(
                depth=depth, num_heads=heads, fused_from=fused_from, layer_scale=layer_scale,
                remat="dots",
            ),
        )
    )  # fmt: skip
    set_stage(config, args.stage, init=args.init, mask_id=103)
    optimizer = dict(name="adamw", b2=0.98, weight_decay=0.01, clip_norm=None)
    config.train.update(total="200000 steps", global_batch_size=args.batch or 1024)
    # All the rest of the run is the cooldown: a linear decay.
    schedule = dict(name="constant-cooldown", peak=rate, warmup=2500, cooldown=197_500)
    if args.stage == "language":
        schedule["peak"] = 2e-4
    if args.stage == "vision":
        optimizer.update(b2=0.999, weight_decay=0.05, clip_norm=3.0)
        config.train.update(total="150 epochs", global_batch_size=args.batch or 2048)
        schedule = dict(name="cosine", peak=1.5e-3, warmup=10_000)
    config.optim.optimizer = ConfigDict(optimizer)
    config.optim.schedule = ConfigDict(schedule)
    config.checkpoint.every = "10000 steps"
    if args.eval and args.stage == "pairs":
        config.evals = ConfigDict(
            dict(held_out=dict(task="retrieval", data=args.eval, every="10000 steps"))
        )
        config.report.data = args.eval
    return config


def set_stage(config: ConfigDict, stage: str, *, init: str, mask_id: int) -> None:
    """Gives the config the objective of a stage, what it freezes and what it begins with.

    Raises:
        ValueError: when there is no such stage, or it cannot begin from nothing.
    """
    freeze = chosen("stage", stage, FREEZE)
    if stage == "language" and not init:
        raise ValueError(
            "stage=language trains no attention, so it needs that of stage=vision, got no init; "
            "give init=WORKDIR of that run"
        )
    objectives = {
        "vision": dict(name="masked_images", mask_ratio=0.6),
        "language": dict(name="masked_words", mask_id=mask_id),
        "pairs": dict(name="vlmo", mask_id=mask_id, max_scale=100.0),
    }
    config.objective = ConfigDict(objectives[stage])
    config.optim.freeze = freeze
    config.init.path = init
