"""Where layers meet the machine: how activations lie between and in them, and what it computes by.

Layers know no mesh. Who lays a step out over devices says here what they need of it, while the step
is traced; without that there is one device, of the kind that JAX takes.
"""

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from typing import Any, Protocol, runtime_checkable

import jax

# From arrays `[n, l, h, k]` that have gradients, and a pytree of `[n, ...]` that have none, to such
# an array, each row and head by itself.
OfHeads = Callable[[tuple[Any, ...], Any], Any]


@runtime_checkable
class Machine(Protocol):
    """What a step is traced for."""

    @property
    def platform(self) -> str:
        """Of the devices: "cpu", "gpu" or "tpu"."""

    @property
    def parts(self) -> int:
        """How many devices divide the heads and hidden features of a layer."""

    def at_edge(self, x: Any) -> Any:
        """What goes from layer to layer, `[n, ...]`, laid out."""

    def apart(self, x: Any, *, axis: int, rows: bool) -> Any:
        """See the function `apart`."""

    def by_heads(self, function: OfHeads) -> OfHeads:
        """See the function `by_heads`."""


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
    """The same array as the machine lays it out, if there is one."""
    machine = _MACHINE.get()
    return x if machine is None else machine.at_edge(x)


def parts() -> int:
    """How many devices divide the heads and hidden features of a layer."""
    machine = _MACHINE.get()
    return 1 if machine is None else machine.parts


def apart(x: Any, *, axis: int, rows: bool = True) -> Any:
    """The same array, its places along an axis divided over the devices that divide a layer.

    Args:
        x: any array.
        axis: of heads or hidden features, each of which is computed without the others.
        rows: whether the first axis is the batch's.
    """
    machine = _MACHINE.get()
    if machine is None or machine.parts == 1:
        return x
    return machine.apart(x, axis=axis, rows=rows)


def platform() -> str:
    """Of the devices that are traced for."""
    machine = _MACHINE.get()
    return jax.default_backend() if machine is None else machine.platform


def by_heads(function: OfHeads) -> OfHeads:
    """The function where each device has its own rows and heads; for what JAX cannot divide."""
    machine = _MACHINE.get()
    return function if machine is None else machine.by_heads(function)


def in_parts() -> bool:
    """Whether this is traced for the rows of a part of a mesh, see `vlp.parallel.shares`."""
    return bool(jax.sharding.get_abstract_mesh().manual_axes)
