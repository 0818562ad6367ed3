"""A student of a quarter of the quickstart's size, which a run of the quickstart teaches.

The student sees the drawings of `emoji.py` as that does, and its teacher sees the same ones. It
learns from the pairs, from how alike the teacher finds each image and each text of a batch, and
from the teacher's embeddings, in whose width it has its own. Without a teacher the same student
learns from the pairs alone, which is what to compare it with.

Method: Vasu et al., 2024 (MobileCLIP), https://arxiv.org/abs/2311.17049, with the teacher in memory
in place of its stored vectors, and the embeddings of Yang et al., 2024 (CLIP-KD),
https://arxiv.org/abs/2307.12732, whose weight of 2000 is for 512 dimensions and 500 for the 128
here.
Cost: 3 minutes on two CPU cores, half of it without a teacher.
Expected on Twemoji (benchmarks/results/distillation_on_emoji.md): text to image R@5 0.25 with a
teacher and 0.11 without, among 3,786; by chance 0.001.

  vlp train --config=experiments/emoji_distilled.py:teacher=runs/emoji --workdir=runs/distilled

Arguments: `teacher` (a run of emoji.py, or whatever `vlp.load` reads that has its tokenizer; left
out, there is none); `epochs`; `affinity`: lambda of MobileCLIP, the contrast weighs 1 - lambda;
`feature`: weight of the embeddings; `size` (pixels).
"""

from ml_collections import ConfigDict

from experiments import emoji
from experiments.common import parse_arg


def get_config(arg: str = "") -> ConfigDict:
    """The config of the student."""
    args = parse_arg(arg, teacher="", epochs=15.0, affinity=0.75, feature=500.0, size=48)
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
