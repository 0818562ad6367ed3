"""A student of a quarter of the quickstart's size, which a run of the quickstart teaches.

The student sees the drawings of `emoji.py` as that does, and its teacher sees the same ones. It
learns from the pairs and from how alike the teacher finds each image and each text of a batch.
Without a teacher the same student learns from the pairs alone, which is what to compare it with.

Method: Vasu et al., 2024 (MobileCLIP), https://arxiv.org/abs/2311.17049, here with the teacher in
memory, not its stored vectors; `feature` adds the term of Yang et al., 2024 (CLIP-KD),
https://arxiv.org/abs/2307.12732, whose authors weigh it with 2000 beside 1 and 1.
Cost: 3 minutes on two CPU cores, half of it without a teacher.
Expected on Twemoji (benchmarks/results/distillation_on_emoji.md): text to image R@5 0.140 with a
teacher and 0.108 without, among 3,786; by chance 0.001.

  vlp train --config=experiments/emoji_distilled.py:teacher=runs/emoji --workdir=runs/distilled

Arguments: `teacher` (a run of emoji.py, or whatever `vlp.load` reads that has its tokenizer; left
out, there is none); `epochs`; `affinity`: lambda of the paper, the contrast weighs 1 - lambda;
`feature`: weight of that term; `size` (pixels).
"""

from ml_collections import ConfigDict

from experiments import emoji
from experiments.common import parse_arg


def get_config(arg: str = "") -> ConfigDict:
    """The config of the student."""
    args = parse_arg(arg, teacher="", epochs=15.0, affinity=0.75, feature=0.0, size=48)
    config = emoji.get_config(f"epochs={args.epochs},size={args.size}")
    config.model.image.update(width=96, depth=4, num_heads=3, unroll=4)
    config.model.text.update(width=64, num_heads=2)
    if args.teacher:
        set_teacher(config, args.teacher, affinity=args.affinity, feature=args.feature)
    return config


def set_teacher(config: ConfigDict, teacher: str, *, affinity: float, feature: float) -> None:
    """Lets a run of one kind of drawings and words teach a run of the same."""
    config.tokenizer.path = teacher
    config.frozen.teacher = ConfigDict(dict(path=teacher))
    config.objective = ConfigDict(
        dict(
            name="distillation",
            contrastive_weight=1.0 - affinity,
            affinity_weight=affinity,
            feature_weight=feature,
        )
    )
