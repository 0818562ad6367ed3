"""What makes a step fit that does not: settings to try, those that cost least first."""

from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from vlp.parallel.mesh import fsdp_sizes
from vlp.run.sections import settings_of
from vlp.run.values import flatten

_DIVIDED = 16  # parts of parameters and optimiser state, beyond which little is left to save


def most_parts(devices: Sequence[Any], *, tensor: int) -> int:
    """The largest axis `fsdp` of these devices that is worth while, beside an axis `tensor`."""
    sizes = (size for size in fsdp_sizes(devices, tensor=tensor) if size <= _DIVIDED)
    return max(sizes, default=1)


def remedies(
    config: ConfigDict, mesh: Mapping[str, int], devices: Sequence[Any]
) -> list[list[str]]:
    """Flags of `vlp plan` and `vlp train`, each a list to be added to a config's own.

    Dividing parameters costs exchanges that mostly hide behind what is computed; computing
    activations again costs up to a third of the time; micro-batches cost as much and use the
    device less well; an axis `tensor` exchanges activations in every layer; half the batch is
    another training.

    Args:
        config: of the whole run.
        mesh: sizes of the axes that it has.
        devices: those of the machine.
    """
    tensor = mesh.get("tensor", 1)
    parts = most_parts(devices, tensor=tensor)
    divide = [f"--config.mesh.fsdp={parts}"] if mesh["fsdp"] < parts else []
    parts_of_model = flatten(config.model.to_dict()).items()
    remat = {value for key, value in parts_of_model if key.endswith(".remat")}
    again = [] if remat == {"full"} else ["--config.model.remat=full"]
    found = [divide, again, divide + again]
    batch = config.train.global_batch_size
    micro = batch // 8 // len(devices) * len(devices)
    takes_parts = "micro_batch_size" in (settings_of(config, "objective") or ())
    if micro and takes_parts and not config.objective.get("micro_batch_size"):
        found.append([*divide, *again, f"--config.objective.micro_batch_size={micro}"])
    if tensor == 1 and len(devices) % 2 == 0:
        parts = most_parts(devices, tensor=2)
        found.append([f"--config.mesh.fsdp={parts}", *again, "--config.mesh.tensor=2"])
    half = batch // 2 // len(devices) * len(devices)
    if half:
        found.append([*divide, *again, f"--config.train.global_batch_size={half}"])
    return [flags for place, flags in enumerate(found) if flags and flags not in found[:place]]
