"""`--config=FILE` and the `--config.SECTION.KEY=VALUE` beside it, apart from other arguments."""

import argparse
from collections.abc import Sequence

from vlp.cli.parser import UsageError

PREFIX = "--config."


def add_config_argument(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Adds `--config`, with which a command takes the settings of the config as flags too."""
    parser.add_argument(
        "--config",
        required=required,
        metavar="FILE[:arg=value,...]",
        help="config file, see `vlp config list`; --config.SECTION.KEY=VALUE sets anything in it",
    )
    parser.set_defaults(takes_config=True)


def split_overrides(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The other arguments, and the settings as `--config.SECTION.KEY=VALUE`.

    The value may be an argument of its own, as with any flag.

    Raises:
        UsageError: a setting without a value.
    """
    others: list[str] = []
    overrides: list[str] = []
    items = iter(arguments)
    for item in items:
        if not item.startswith(PREFIX):
            others.append(item)
            continue
        key, equals, value = item.partition("=")
        if not equals:
            value = next(items, "--")
            if value.startswith("--"):
                raise UsageError(f"{key} needs a value, got none; write {key}=VALUE")
        overrides.append(f"{key}={value}")
    return others, overrides
