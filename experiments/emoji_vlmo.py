"""VLMo on the emoji that come with the package, in three stages of a few minutes each.

  vlp train --config=experiments/emoji_vlmo.py:stage=vision --workdir=runs/vlmo-vision
  vlp train --config=experiments/emoji_vlmo.py:stage=language,init=runs/vlmo-vision \
    --workdir=runs/vlmo-language
  vlp train --config=experiments/emoji_vlmo.py:stage=pairs,init=runs/vlmo-language \
    --workdir=runs/vlmo

Arguments: `stage`; `init` (the run of the stage before; pairs may do without); `epochs`; `size`
(pixels); `positions` ("absolute" or "relative", the same in all stages).

Method: Bao et al., 2022, https://arxiv.org/abs/2111.02358, in the form of `experiments/vlmo.py`,
at a small size; all stages see the same pairs, the first two one side of them.
Cost: 400 pairs a second on two CPU cores in the first two stages, 110 in the last: 2, 2 and 11
minutes.
Expected: after 8, 8 and 6 epochs text to image R@5 0.022 among Twemoji's 3,786 (by chance 0.001),
46 % of the hidden words; whether a pair matches is not learnt by then. Longer runs were not
measured.
"""

from ml_collections import ConfigDict

from experiments import emoji
from experiments.common import parse_arg
from experiments.vlmo import set_stage

EPOCHS = {"vision": 15.0, "language": 15.0, "pairs": 20.0}


def get_config(arg: str = "") -> ConfigDict:
    """The config of one stage."""
    args = parse_arg(arg, stage="pairs", init="", epochs=0.0, size=48, positions="absolute")
    epochs = args.epochs or EPOCHS.get(args.stage, 1.0)
    config = emoji.get_config(f"epochs={epochs},size={args.size}")
    # A first token for texts, as images have one, and a mask behind the tokenizer's own pieces.
    config.tokenizer.update(begin=True, extra=1)
    width = 96
    config.model = ConfigDict(
        dict(
            embed_dim=128,
            init_scale=20.0,
            positions=args.positions,
            image=dict(kind="patches", patch_size=12, width=width),
            text=dict(kind="words", width=width),
            multiway=dict(depth=3, num_heads=3, fused_from=2, unroll=2),
        )
    )
    set_stage(config, args.stage, init=args.init, mask_id=config.tokenizer.vocab_size)
    config.export = ConfigDict()
    if args.init:
        config.tokenizer.path = f"{args.init}/tokenizer.model"
    if args.stage != "pairs":
        config.train.ema_decay = 0.0
        config.evals = ConfigDict()
        config.report.data = ""
        return config
    data, every = config.report.data, config.evals.twemoji.every
    for task in ("matching", "masked_words"):
        config.evals[task] = ConfigDict(dict(task=task, data=data, every=every))
    # At the end only: it reads each caption with 16 pictures and each picture with 16 captions.
    config.evals.twemoji_reranked = ConfigDict(config.evals.twemoji.to_dict())
    config.evals.twemoji_reranked.update(rerank=16, every="0 steps")
    return config
