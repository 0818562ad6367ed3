"""Where the layers of a stack meet: what is to be done there with the activations.

Layers know no mesh. Who lays a step out over devices says here how their activations lie, while
the step is traced; without that they lie as the compiler finds best.
"""

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from typing import Any

Rule = Callable[[Any], Any]  # an array to the same array, laid out

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
    return x if rule is None else rule(x)
