"""BLIP-2's first stage on the emoji: a small Q-Former that reads the quickstart's image tower.

  vlp train --config=experiments/emoji.py --workdir=runs/emoji
  vlp train --config=experiments/emoji_blip2.py:image=runs/emoji --workdir=runs/blip2

Arguments: `image` (whose image tower is read: the quickstart's run, or any with its pixels);
`epochs`; `size` (pixels).

Method: Li et al., 2023, https://arxiv.org/abs/2301.12597, in the form of `experiments/blip2.py`, at
a small size: eight queries in four blocks, of which the first and the third read.
Expected: after 15 epochs text to image R@5 0.30 among Twemoji's 3,786 (the quickstart itself 0.33,
by chance 0.001), captions of CIDEr 0.77 (0.08); whether a pair matches is not learnt by then.
Longer runs were not measured.
"""

from ml_collections import ConfigDict

from experiments import emoji
from experiments.common import parse_arg


def get_config(arg: str = "") -> ConfigDict:
    """The config of the small first stage."""
    args = parse_arg(arg, image="runs/emoji", epochs=15.0, size=48)
    config = emoji.get_config(f"epochs={args.epochs},size={args.size},model=blip")
    config.tokenizer.extra = 1  # the first token of captions
    width = config.model.image.width
    config.model = ConfigDict(
        dict(
            kind="blip2",
            embed_dim=128,
            init_scale=20.0,
            num_queries=8,
            image=dict(kind="frozen", width=width),
            text=dict(
                kind="bert", width=128, depth=4, num_heads=4, mlp_ratio=2.0, unroll=4,
                num_types=None, pooler=False,
            ),
        )
    )  # fmt: skip
    config.frozen.image = ConfigDict(dict(path=args.image, towers="image", drop_blocks=1))
    config.objective = ConfigDict(dict(name="blip2", max_scale=100.0))
    config.evals.captions = ConfigDict(
        dict(task="captioning", data="emoji:twemoji", every="0 steps", num_beams=1)
    )
    return config
