"""CLIP on the emoji that come with the package: a whole run in minutes on a laptop's CPU.

Trains a small dual encoder from scratch on one vendor's drawings (Noto Emoji) and judges it on
another's (Twemoji), a drawing style that training never saw: retrieval among all 3,786 and
zero-shot classification by category. The split "compositional" holds persons in a skin tone that
training never showed together.

Method: Radford et al., 2021, https://arxiv.org/abs/2103.00020, with strong style augmentation and
an average of the weights, optimised with Muon (Jordan et al., 2024,
https://kellerjordan.github.io/posts/muon).
Cost: 8 minutes on two CPU cores.
Expected on Twemoji: text to image R@5 0.33 and R@10 0.45 among 3,786, for a name and for "a NAME",
a hundredth more or less by the processor; by chance 0.001 and 0.003.

  vlp train --config=experiments/emoji.py --workdir=runs/emoji

Arguments (`--config=experiments/emoji.py:epochs=2,size=32`): `epochs`, `size` (pixels), `model`:
`clip`; `siglip` (Zhai et al., 2023, https://arxiv.org/abs/2303.15343); `coca`, which learns to
write captions as well (Yu et al., 2022, https://arxiv.org/abs/2205.01917) and is exported for
open_clip; `albef`, which learns to tell matching pairs and hidden words, with a slow teacher (Li
et al., 2021, https://arxiv.org/abs/2107.07651); `blip`, which tells matching pairs and writes
captions (Li et al., 2022, https://arxiv.org/abs/2201.12086).
"""

from ml_collections import ConfigDict

from experiments.common import base_config, parse_arg

# Pairs whose features the momentum models of ALBEF and BLIP keep: one batch. At this learning rate
# older features are told from new ones by their age, and a longer queue teaches that, not content.
QUEUE = 256
# Of their average: short at first, for a short run.
MOMENTUM = dict(momentum_decay=0.99, momentum_warmup=True)


def get_config(arg: str = "") -> ConfigDict:
    """The config of the quickstart."""
    args = parse_arg(arg, epochs=42.0, size=48, model="clip")
    if args.model not in METHODS:
        raise ValueError(f"model must be one of {', '.join(METHODS)}, got {args.model!r}")
    config = base_config()
    config.attribution = (
        "Training drawings: Noto Emoji, Google, Apache License 2.0.",
        "Evaluation drawings: Twemoji, X Corp and the jdecked fork's authors, CC BY 4.0.",
        "Names and groups: emoji-datasource, Cal Henderson, MIT.",
    )
    config.data.train = "emoji:noto-train"
    config.data.caption_first_probability = 0.6
    config.preprocess.size = args.size
    # Drawing styles differ in proportions and colours more than one style varies within itself.
    config.augment = ConfigDict(
        dict(
            scale=(0.65, 1.1), shift=0.08, aspect=0.2, shear=0.15, rotate=12.0, warp=0.06,
            brightness=0.2, contrast=0.2, saturation=0.4, hue=0.04, curve=0.3, palette=0.06,
            shade=0.15, gloss_p=0.1, flat_p=0.25, posterise_p=0.2, edges_p=0.15, outline_p=0.3,
            erode_p=0.1, shadow_p=0.1, background_p=0.2, blur_p=0.2, noise_p=0.15, cutout_p=0.2,
        )
    )  # fmt: skip
    config.tokenizer.vocab_size = 3072  # most words are one token
    config.tokenizer.length = 20  # of the longest names
    config.model = ConfigDict(
        dict(
            embed_dim=128,
            init_scale=20.0,
            image=dict(
                patch_size=12, width=192, depth=6, num_heads=3, pool="cls", pre_norm=True,
                patch_bias=False, norm_eps=1e-5, activation="relu", mlp_ratio=2.0, unroll=6,
            ),
            text=dict(
                width=128, depth=2, num_heads=4, causal=True, pool="eot", norm_eps=1e-5,
                activation="relu", unroll=2,
            ),
        )
    )  # fmt: skip
    # On a small budget Muon learns twice as much a step as AdamW does.
    config.optim.optimizer = ConfigDict(dict(name="muon", weight_decay=0.1, clip_norm=1.0))
    warmup = f"{min(2.0, args.epochs / 4):g} epochs"
    config.optim.schedule = ConfigDict(dict(name="cosine", peak=4e-3, warmup=warmup))
    config.train.total = f"{args.epochs:g} epochs"
    config.train.global_batch_size = 256
    config.train.ema_decay = 0.99
    config.checkpoint.every = f"{args.epochs / 4:g} epochs"
    every = f"{args.epochs / 2:g} epochs"
    config.evals = ConfigDict(
        dict(
            twemoji=dict(task="retrieval", data="emoji:twemoji", every=every, group="split"),
            categories=dict(
                task="classification",
                data="emoji:twemoji",
                every=every,
                label="category",
                templates="emoji",
            ),
        )
    )
    config.report.data = "emoji:twemoji"
    config.export = ConfigDict(dict(to="hf", out="exported"))
    METHODS[args.model](config)
    return config


def _clip(config: ConfigDict) -> None:
    """What the config is already."""


def _siglip(config: ConfigDict) -> None:
    """The sigmoid loss, with the start values of its scale and bias."""
    config.model.update(init_scale=10.0, init_bias=-10.0)
    config.objective.name = "siglip"
    config.export = ConfigDict()  # no other stack has this shape with a bias


def _albef(config: ConfigDict) -> None:
    """The text tower becomes the first half of a BERT, whose second half reads the image."""
    sizes = dict(num_heads=4, depth=2, unroll=2)
    config.model.text = ConfigDict(dict(kind="bert", width=128, pooler=False, **sizes))
    config.model.fusion = ConfigDict(sizes)
    config.tokenizer.update(begin=True, extra=1)  # a first token to match by, and a mask
    config.objective = ConfigDict(
        dict(
            name="albef",
            mask_id=config.tokenizer.vocab_size,
            queue_size=QUEUE,
            distillation=0.4,
            ramp="1 epochs",
            max_scale=100.0,
            **MOMENTUM,
        )
    )
    config.train.ema_decay = 0.0  # the paper judges the model itself
    config.export = ConfigDict()
    _judge_pairs(config, "matching", "masked_words")


def _judge_pairs(config: ConfigDict, *tasks: str) -> None:
    """Judges a model that reads image and text together by these tasks, and by reranking."""
    every = config.evals.twemoji.every
    for task in tasks:
        config.evals[task] = ConfigDict(dict(task=task, data="emoji:twemoji", every=every))
    # At the end only: it reads each caption with 16 pictures and each picture with 16 captions.
    config.evals.twemoji_reranked = ConfigDict(
        dict(task="retrieval", data="emoji:twemoji", every="0 steps", rerank=16)
    )


def _blip(config: ConfigDict) -> None:
    """A BERT for the text, whose blocks read the image as well, and write."""
    config.model.text = ConfigDict(
        dict(
            kind="bert", width=128, depth=2, num_heads=4, unroll=2, num_types=None, pooler=False,
        )
    )  # fmt: skip
    config.model.modes = ("encode", "decode")
    config.tokenizer.update(begin=True, extra=2)  # behind it the first tokens of the two modes
    config.objective = ConfigDict(
        dict(
            name="blip",
            queue_size=QUEUE,
            distillation=0.4,
            ramp="2 epochs",
            max_scale=100.0,
            **MOMENTUM,
        )
    )
    config.train.ema_decay = 0.0  # the paper judges the model itself
    config.export = ConfigDict()
    _judge_pairs(config, "matching")


def _coca(config: ConfigDict) -> None:
    """A decoder behind the text tower, a query a patch, settings that open_clip knows."""
    model, shared = config.model, dict(activation="gelu", norm_eps=1e-5)
    queries = dict(width=model.text.width, num_queries=17, num_heads=4)
    model.image.update(pool="queries", queries=queries, class_token=True, **shared)
    model.text.update(pool="cls_last", **shared)
    model.decoder = ConfigDict(dict(depth=2, num_heads=4, unroll=2, **shared))
    config.tokenizer.begin = True
    model.begin_id = 3  # what tokenizers trained with `begin` put in front
    config.objective.update(name="coca", contrastive_weight=1.0, caption_weight=2.0)
    config.export.to = "open_clip"


METHODS = {"albef": _albef, "blip": _blip, "clip": _clip, "coca": _coca, "siglip": _siglip}
