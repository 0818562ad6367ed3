"""Devices of a machine that is not here: enough to compile for, not to run on."""

import dataclasses
import os
import re
from collections.abc import Sequence
from typing import Any

from vlp.planning.hardware import CHIPS, Chip

_EXAMPLES = "v5e:16x16, v4:4x4x4, v5p:8x8x8, v6e:16x16, tpu7x:4x4x4, h100:64, a100:32"
_DIMENSIONS = {"v4": 3, "v5e": 2, "v5p": 3, "v6e": 2, "tpu7x": 3}


@dataclasses.dataclass(frozen=True)
class Topology:
    """A machine.

    Attributes:
        name: such as "v5e:16x16" or "h100:64".
        chip: its devices'.
        shape: of a slice, in chips, or the number of GPUs.
        devices: as JAX lists them; none of them is here.
    """

    name: str
    chip: Chip
    shape: tuple[int, ...]
    devices: Sequence[Any]

    def near(self, device: Any) -> Any:
        """What the fast links of a device reach: a host's GPUs, or all of a slice of TPUs."""
        if self.chip.kind == "cuda":
            return device.process_index
        return getattr(device, "slice_index", 0)


def open_topology(name: str, *, slices: int = 1) -> Topology:
    """The machine of a name.

    Args:
        name: "CHIP:SHAPE", where SHAPE is the slice of a TPU, in chips, or a number of GPUs.
        slices: of a TPU, how many of that shape a data-centre network connects.

    Raises:
        ValueError: no such chip or shape, or what compiles for it is not installed.
    """
    kind, _, size = name.partition(":")
    if kind not in CHIPS:
        raise ValueError(
            f"topology must be CHIP:SHAPE with a chip of {', '.join(CHIPS)}, got {name!r}; "
            f"e.g. {_EXAMPLES}"
        )
    chip = CHIPS[kind]
    shape = tuple(int(n) for n in size.split("x")) if re.fullmatch(r"\d+(x\d+)*", size) else ()
    wanted = _DIMENSIONS.get(kind, 1)
    if len(shape) != wanted or min(shape) < 1:
        form = "x".join(["N"] * wanted)
        raise ValueError(f"the shape of {kind} must be {form}, got {size!r}; e.g. {_EXAMPLES}")
    cuda = chip.kind == "cuda"
    if slices < 1 or (cuda and slices > 1):
        raise ValueError(
            f"slices must be at least 1, and 1 for GPUs, got {slices} of {name}; "
            "more hosts are more GPUs: h100:64"
        )
    devices = _gpus(name, chip, shape[0]) if cuda else _tpus(name, kind, shape, slices)
    return Topology(name if slices == 1 else f"{slices} x {name}", chip, shape, devices)


def _tpus(name: str, kind: str, shape: Sequence[int], slices: int) -> Sequence[Any]:
    from jax.experimental import topologies

    # Nothing of a cloud machine is asked for: there is none.
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
    os.environ.setdefault("TPU_ACCELERATOR_TYPE", "v5litepod-256")
    os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
    settings: dict[str, Any] = {"num_slices": slices} if slices > 1 else {}
    if kind == "v4":
        settings["chip_config_name"] = "megacore"
    try:
        return topologies.get_topology_desc(platform="tpu", topology_name=name, **settings).devices
    except RuntimeError as error:
        if "support not installed" in str(error):
            raise ValueError(
                f"planning for {name} needs libtpu, which compiles for TPUs on any Linux machine: "
                "pip install vlp[tpu]"
            ) from error
        raise ValueError(
            f"{name} must be a shape that {kind} has, got {shape}: {_first_line(error)}"
        ) from error


def _gpus(name: str, chip: Chip, count: int) -> Sequence[Any]:
    from jax.experimental import topologies

    hosts, rest = divmod(count, chip.hosted)
    if rest and count > chip.hosted:
        raise ValueError(
            f"more GPUs than one host has must be whole hosts of {chip.hosted}, got {count}; "
            f"try {hosts * chip.hosted} or {(hosts + 1) * chip.hosted}"
        )
    shape = f"1x{max(hosts, 1)}x{min(count, chip.hosted)}"
    try:
        return topologies.get_topology_desc(
            platform="cuda", topology_name=name, topology=shape, target_config=_target(chip)
        ).devices
    except NotImplementedError as error:
        raise ValueError(
            f"planning for {name} needs JAX's CUDA plugin, which compiles without a GPU: "
            f"pip install vlp[cuda] ({_first_line(error)})"
        ) from error


def _target(chip: Chip) -> str:
    """The chip as the text of XLA's `GpuTargetConfigProto`."""
    known: dict[str, Any] = dict(chip.target)
    (major, minor), name = known.pop("capability"), known.pop("name")
    limits = dict(
        threads_per_block_limit=1024, threads_per_warp=32, shared_memory_per_block=49152,
        threads_per_core_limit=2048, block_dim_limit_x=2**31 - 1, block_dim_limit_y=65535,
        block_dim_limit_z=65535, registers_per_core_limit=65536, registers_per_block_limit=65536,
    )  # fmt: skip
    fields = "\n".join(f"  {key}: {value}" for key, value in (limits | known).items())
    capability = f"  cuda_compute_capability {{ major: {major} minor: {minor} }}"
    return (
        f"gpu_device_info {{\n{fields}\n{capability}\n}}\n"
        'platform_name: "CUDA"\n'
        "dnn_version_info { major: 9 minor: 10 }\n"
        "runtime_version { major: 12 minor: 8 }\n"
        f'device_description_str: "{name}"\n'
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200]
