"""Where activations lie while layers run: at their edges, and head by head within.

Layers know no mesh. Who lays a step out over devices says here how their activations lie, while
the step is traced; without that they lie as the compiler finds best.
"""

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Rule(Protocol):
    """How arrays are laid out."""

    @property
    def parts(self) -> int:
        """How many devices divide the heads and hidden features of a layer."""

    def at_edge(self, x: Any) -> Any:
        """What goes from layer to layer, `[n, ...]`, laid out."""

    def apart(self, x: Any, *, axis: int, rows: bool) -> Any:
        """See the function `apart`."""


_RULE: contextvars.ContextVar[Rule | None] = contextvars.ContextVar("edges", default=None)


@contextlib.contextmanager
def edges(rule: Rule) -> Iterator[None]:
    """Lets a rule hold for all stacks that are traced meanwhile."""
    token = _RULE.set(rule)
    try:
        yield
    finally:
        _RULE.reset(token)


def at_edge(x: Any) -> Any:
    """The same array as the rule lays it out, if there is one."""
    rule = _RULE.get()
    return x if rule is None else rule.at_edge(x)


def parts() -> int:
    """How many devices divide the heads and hidden features of a layer."""
    rule = _RULE.get()
    return 1 if rule is None else rule.parts


def apart(x: Any, *, axis: int, rows: bool = True) -> Any:
    """The same array, its places along an axis divided over the devices that divide a layer.

    Args:
        x: any array.
        axis: of heads or hidden features, each of which is computed without the others.
        rows: whether the first axis is the batch's.
    """
    rule = _RULE.get()
    return x if rule is None or rule.parts == 1 else rule.apart(x, axis=axis, rows=rows)
