"""The device mesh: its `data` axis repeats the parameters, its `fsdp` axis divides them."""

from collections.abc import Sequence
from typing import Any

import jax
from jax.sharding import AbstractMesh, AxisType, Mesh

AXES = ("data", "fsdp")
AnyMesh = Mesh | AbstractMesh


def make_mesh(*, data: int = -1, fsdp: int = 1, devices: Sequence[Any] | None = None) -> Mesh:
    """The mesh of shape `[data, fsdp]` over all devices.

    The axes are of type Auto on purpose: `jax.jit` then places the collectives itself, while
    explicit axes (the default of `jax.make_mesh`) make a plain `x @ x.T` over a sharded axis an
    error.

    Args:
        data: how many groups of devices hold a copy of the parameters; -1 takes all that remain.
        fsdp: over how many devices one copy of parameters and optimiser state is divided.
        devices: the devices to use, all processes' together; by default every device there is.

    Raises:
        ValueError: when `data * fsdp` is not the number of devices, or a slice of TPUs has no sides
            of which the axes could be made.
    """
    devices = jax.devices() if devices is None else list(devices)
    count = len(devices)
    if fsdp < 1 or count % fsdp:
        fitting = ", ".join(str(n) for n in range(1, count + 1) if count % n == 0)
        raise ValueError(f"mesh axis fsdp must divide {count} devices, got {fsdp}; try {fitting}")
    if data == -1:
        data = count // fsdp
    if data * fsdp != count:
        raise ValueError(
            f"mesh axes data * fsdp must equal the {count} devices, got {data} * {fsdp}; "
            f"try data={count // fsdp}, or data=-1 for all that remain"
        )
    try:
        return _laid_out(data, fsdp, devices)
    except NotImplementedError as error:
        raise ValueError(
            f"mesh data {data} x fsdp {fsdp} must be made of the sides of the slice, each axis of "
            f"some of them; try mesh axis fsdp {', '.join(map(str, fsdp_sizes(devices)))}"
        ) from error


def fsdp_sizes(devices: Sequence[Any]) -> list[int]:
    """Sizes that the axis `fsdp` can have over these devices."""
    count, found = len(devices), []
    for size in (n for n in range(1, count + 1) if count % n == 0):
        try:
            _laid_out(count // size, size, devices)
        except NotImplementedError:  # JAX's word for sides that do not make these axes
            continue
        found.append(size)
    return found


def _laid_out(data: int, fsdp: int, devices: Sequence[Any]) -> Mesh:
    """The mesh in an order in which neighbours in it are neighbours in the machine."""
    kinds = (AxisType.Auto,) * len(AXES)
    return jax.make_mesh((data, fsdp), AXES, axis_types=kinds, devices=devices)


def abstract_mesh(*, data: int, fsdp: int = 1) -> AbstractMesh:
    """A mesh of that shape without devices: enough to lower a step, not to compile or run it."""
    return AbstractMesh((data, fsdp), AXES, axis_types=(AxisType.Auto,) * len(AXES))


def check_global_batch_size(global_batch_size: int, *, mesh: Mesh | AbstractMesh) -> None:
    """Raises ValueError, with the nearest sizes that fit, when the devices cannot share a batch."""
    check_divides(global_batch_size, mesh.size)


def check_divides(global_batch_size: int, count: int) -> None:
    """Raises ValueError, with the nearest sizes that fit, when so many cannot share a batch."""
    if global_batch_size > 0 and global_batch_size % count == 0:
        return
    below = global_batch_size // count * count
    nearest = f"{below} or {below + count}" if below > 0 else str(count)
    raise ValueError(
        f"global_batch_size must divide by {count} devices, got {global_batch_size}; try {nearest}"
    )
