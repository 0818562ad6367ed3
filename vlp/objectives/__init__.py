"""Objectives: what a paper minimises, one file each."""

import functools
import importlib
import pkgutil
from importlib.metadata import entry_points

from vlp.objectives.common.contract import Context, Losses, Momentum, Objective, Term

__all__ = ["Context", "Losses", "Momentum", "Objective", "Term", "objectives"]


@functools.cache
def objectives() -> dict[str, type]:
    """The objectives by name: those of this folder's files, and those of other packages.

    A package that is installed brings its own by entry points of the group `vlp.objectives`.

    Raises:
        ValueError: when a file has no objective or several, or a name is taken.
    """
    files = [module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg]
    found = {name: _only_objective(name) for name in files}
    for point in entry_points(group="vlp.objectives"):
        if point.name in found:
            raise ValueError(
                f"an objective's name must be its own, {point.value} is a second {point.name!r}; "
                "name it otherwise"
            )
        make = point.load()
        if not isinstance(make, type) or Objective not in make.__mro__:
            raise ValueError(
                f"the entry point {point.value} of an installed package must be a class with the "
                f"base vlp.objectives.Objective, got {make!r}; mend or remove that package"
            )
        found[point.name] = make
    return found


def _only_objective(name: str) -> type:
    module = importlib.import_module(f"{__name__}.{name}")
    own = [
        each
        for each in vars(module).values()
        if isinstance(each, type)
        and each.__module__ == module.__name__
        and Objective in each.__mro__
    ]
    if len(own) != 1:
        raise ValueError(
            f"{module.__file__} must have one class with the base vlp.objectives.Objective, got "
            f"{len(own)}; what objectives share lives in vlp/objectives/common"
        )
    return own[0]
