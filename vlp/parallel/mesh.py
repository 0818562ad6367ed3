"""The device mesh, and over which of its axes batches, parameters and products are divided."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AbstractMesh, AxisType, Mesh

AXES = ("data", "fsdp", "tensor")
BATCH_AXES = ("data", "fsdp")
AnyMesh = Mesh | AbstractMesh


def make_mesh(
    *, data: int = -1, fsdp: int = 1, tensor: int = 1, devices: Sequence[Any] | None = None
) -> Mesh:
    """The mesh of shape `[data, fsdp, tensor]` over all devices.

    The axis `data` repeats the parameters, `fsdp` divides them; batches are spread over both. Along
    `tensor` devices share their rows, and divide the heads and the hidden features of each layer.
    Several slices of TPUs, which only a data-centre network connects, are laid along `data`.

    The axes are of type Auto on purpose: `jax.jit` then places the collectives itself, while
    explicit axes (the default of `jax.make_mesh`) make a plain `x @ x.T` over a sharded axis an
    error.

    Args:
        data: how many groups of devices hold a copy of the parameters; -1 takes all that remain.
        fsdp: over how many devices one copy of parameters and optimiser state is divided.
        tensor: over how many devices each layer's products are divided besides.
        devices: the devices to use, all processes' together; by default every device there is.

    Raises:
        ValueError: when `data * fsdp * tensor` is not the number of devices, a slice of TPUs has no
            sides of which the axes could be made, or `data` does not divide by the slices.
    """
    devices = jax.devices() if devices is None else list(devices)
    count, sizes = len(devices), {"fsdp": fsdp, "tensor": tensor}
    for name, size in sizes.items():
        others = count // math.prod(n for other, n in sizes.items() if other != name) or 1
        if size < 1 or count % size or others % size:
            raise ValueError(
                f"mesh axis {name} must divide {count} devices, got {size}; try {divisors(others)}"
            )
    remain = count // (fsdp * tensor)
    if data not in (-1, remain):
        raise ValueError(
            f"mesh axes data * fsdp * tensor must equal the {count} devices, got {data} * {fsdp} "
            f"* {tensor}; try data={remain}, or data=-1 for all that remain"
        )
    try:
        mesh = _laid_out((remain, fsdp, tensor), devices)
    except NotImplementedError as error:
        fitting = ", ".join(map(str, fsdp_sizes(devices, tensor=tensor)))
        raise ValueError(
            f"mesh data {remain} x fsdp {fsdp} x tensor {tensor} must be made of the sides of the "
            f"slice, each axis of some of them; try mesh axis fsdp {fitting}"
        ) from error
    return mesh


def fsdp_sizes(devices: Sequence[Any], *, tensor: int = 1) -> list[int]:
    """Sizes that the axis `fsdp` can have over these devices."""
    count, found = len(devices) // tensor, []
    for size in (n for n in range(1, count + 1) if count % n == 0):
        try:
            _laid_out((count // size, size, tensor), devices)
        except (NotImplementedError, ValueError):  # sides or slices that do not make these axes
            continue
        found.append(size)
    return found


def _laid_out(shape: tuple[int, int, int], devices: Sequence[Any]) -> Mesh:
    """The mesh in an order in which neighbours in it are neighbours in the machine."""
    kinds = (AxisType.Auto,) * len(AXES)
    slices = len({getattr(device, "slice_index", 0) for device in devices})
    if slices == 1 and shape[-1] == 1:
        return jax.make_mesh(shape, AXES, axis_types=kinds, devices=devices)
    data, *within = shape
    if data % slices:
        raise ValueError(
            f"mesh axis data must divide by the {slices} slices, got {data}; make fsdp * tensor "
            f"a divisor of the {len(devices) // slices} devices of one"
        )
    # A tensor axis is short: often part of a side.
    settings: dict[str, Any] = dict(devices=devices, allow_split_physical_axes=True)
    if slices == 1:
        laid = mesh_utils.create_device_mesh(shape, **settings)
    else:
        laid = mesh_utils.create_hybrid_device_mesh(
            (data // slices, *within), (slices, 1, 1), **settings
        )
    if not _has_rows_apart(laid):
        laid = _by_process(devices).reshape(shape)
    if not _has_rows_apart(laid):
        local = laid.size // len({device.process_index for device in devices})
        raise ValueError(
            f"mesh axis tensor must divide the {local} devices of a process, got {shape[-1]}; try "
            f"{divisors(local)}"
        )
    return Mesh(laid, AXES, axis_types=kinds)


def _has_rows_apart(devices: np.ndarray) -> bool:
    """Whether no two processes have to hand in the same rows of a batch."""
    rows = devices.reshape(-1, devices.shape[-1])
    return all(len({device.process_index for device in row}) == 1 for row in rows)


def _by_process(devices: Sequence[Any]) -> np.ndarray:
    """Slice by slice, and in each process by process."""

    def place(device: Any) -> tuple[int, int, int]:
        return getattr(device, "slice_index", 0), device.process_index, device.id

    ordered = np.empty(len(devices), object)
    ordered[:] = sorted(devices, key=place)
    return ordered


def abstract_mesh(*, data: int, fsdp: int = 1, tensor: int = 1) -> AbstractMesh:
    """A mesh of that shape without devices: enough to lower a step, not to compile or run it."""
    return AbstractMesh((data, fsdp, tensor), AXES, axis_types=(AxisType.Auto,) * len(AXES))


def batch_axes(mesh: AnyMesh | None) -> tuple[tuple[str, ...], int]:
    """The axes of a mesh over which batches are split, and how many parts that makes."""
    axes = () if mesh is None else tuple(name for name in BATCH_AXES if name in mesh.shape)
    return axes, 1 if mesh is None else math.prod(mesh.shape[name] for name in axes)


def batch_parts(mesh: AnyMesh | None) -> int:
    """Into how many parts a batch is split."""
    return batch_axes(mesh)[1]


def divisors(number: int) -> str:
    """What divides a number, in words."""
    return ", ".join(str(n) for n in range(1, number + 1) if number % n == 0)


def said(shape: Mapping[str, int]) -> str:
    """The axes of a mesh in words, without those that divide nothing."""
    divided = [f"{name} {size}" for name, size in shape.items() if size > 1 or name == "data"]
    return " x ".join(divided)


def check_global_batch_size(global_batch_size: int, *, mesh: AnyMesh) -> None:
    """Raises ValueError, with the nearest sizes that fit, when the devices cannot share a batch."""
    check_divides(global_batch_size, batch_parts(mesh))


def check_divides(global_batch_size: int, count: int) -> None:
    """Raises ValueError, with the nearest sizes that fit, when so many cannot share a batch."""
    if global_batch_size > 0 and global_batch_size % count == 0:
        return
    below = global_batch_size // count * count
    nearest = f"{below} or {below + count}" if below > 0 else str(count)
    raise ValueError(
        f"global_batch_size must divide by {count} devices, got {global_batch_size}; try {nearest}"
    )
