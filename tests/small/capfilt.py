"""The stages of CapFilt, shrunk until a run takes seconds."""

from ml_collections import ConfigDict

from experiments.capfilt import set_stage
from experiments.common import parse_arg
from tests.small import config as small


def get_config(arg: str = "") -> ConfigDict:
    """Two steps of a stage on `data`, from the run `init`."""
    args = parse_arg(arg, stage="", data="", init="")
    config = small.get_config(f"data={args.data},steps=2,objective=blip")
    set_stage(config, args.stage, init=args.init)
    return config
