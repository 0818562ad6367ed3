"""A student of a small run, with that or its stored vectors as the teacher; `data=` names pairs."""

from ml_collections import ConfigDict

from experiments.common import parse_arg
from experiments.emoji_distilled import set_teacher
from tests.small import config as small


def get_config(arg: str = "") -> ConfigDict:
    """A run of `steps` steps on `data`, half as deep as its teacher."""
    args = parse_arg(arg, data="", teacher="", vectors="", steps=4)
    config = small.get_config(f"data={args.data},steps={args.steps}")
    for tower in (config.model.image, config.model.text):
        tower.depth = 1
    set_teacher(config, args.teacher, affinity=0.75, feature=8.0)
    if args.vectors:
        config.frozen = ConfigDict()
        config.data.vectors.teacher = args.vectors
        config.objective.stored = True
    return config
