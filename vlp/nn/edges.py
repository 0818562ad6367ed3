"""Where layers meet the machine: how activations lie between them, and what it computes by.

Layers know no mesh. Who lays a step out over devices says here what they need of it, while the step
is traced; without that there is one device, of the kind that JAX takes.
"""

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax

Rule = Callable[[Any], Any]  # an array to the same array, laid out
# From arrays `[n, ...]` that have gradients, and a pytree of such that have none, to an array.
OfRows = Callable[[tuple[Any, ...], Any], Any]


class Machine(NamedTuple):
    """What a step is traced for.

    Attributes:
        platform: of the devices: "cpu", "gpu" or "tpu".
        rule: what is to be done with activations between the layers of a stack.
        by_rows: see there.
    """

    platform: str
    rule: Rule
    by_rows: Callable[[OfRows], OfRows]


_MACHINE: contextvars.ContextVar[Machine | None] = contextvars.ContextVar("machine", default=None)


@contextlib.contextmanager
def edges(machine: Machine) -> Iterator[None]:
    """Lets this hold for all layers that are traced meanwhile."""
    token = _MACHINE.set(machine)
    try:
        yield
    finally:
        _MACHINE.reset(token)


def at_edge(x: Any) -> Any:
    """The same array as the rule lays it out, if there is one."""
    machine = _MACHINE.get()
    return x if machine is None else machine.rule(x)


def platform() -> str:
    """Of the devices that are traced for."""
    machine = _MACHINE.get()
    return jax.default_backend() if machine is None else machine.platform


def by_rows(function: OfRows) -> OfRows:
    """The function as each device applies it to its own rows; for what JAX cannot divide itself."""
    machine = _MACHINE.get()
    return function if machine is None else machine.by_rows(function)


def in_parts() -> bool:
    """Whether this is traced for the rows of a part of a mesh, see `vlp.parallel.shares`."""
    return bool(jax.sharding.get_abstract_mesh().manual_axes)
