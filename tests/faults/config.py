"""The small run of tests/small with nothing but its training."""

from ml_collections import ConfigDict

from tests.small import config as small


def get_config(arg: str = "") -> ConfigDict:
    """A run of `steps` steps on `data`."""
    config = small.get_config(arg)
    config.evals = ConfigDict({})
    config.export = ConfigDict({})
    config.report.data = ""
    config.train.tensorboard = False
    return config
