"""Which checkpoints a directory holds, which of them are whole, and tidying it up."""

import logging
import os
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from etils import epath
from jax.experimental import multihost_utils

from vlp.remote import is_remote, move, names_in
from vlp.training.checkpoint import manifest, stores

_DELETING = ".deleting"
_DAMAGED = ".damaged"
_log = logging.getLogger("vlp")


def saved_steps(directory: Any) -> list[int]:
    """The steps of the committed checkpoints of a run, ascending."""
    directory = absolute(directory)
    return [step for step in steps_in(directory) if manifest.is_committed(directory / str(step))]


def absolute(path: Any) -> epath.Path:
    """Orbax wants absolute paths; those of object stores are."""
    text = os.fspath(path)
    if text.startswith("s3://"):
        stores.open_s3()
    return epath.Path(text if is_remote(text) else os.path.abspath(text))


def steps_in(directory: epath.Path) -> list[int]:
    """The steps of all checkpoints of a run, damaged or not, ascending."""
    steps = [int(name) for name in names_in(directory) if name.isdecimal()]
    return sorted(step for step in steps if not _half_written(directory / str(step)))


def newest_intact(directory: epath.Path, problem: Callable[[epath.Path], str | None]) -> epath.Path:
    """The newest checkpoint without a problem; those passed over are reported.

    Raises:
        ValueError: when there is none, or all have a problem.
    """
    for step in reversed(steps_in(directory)):
        said = problem(directory / str(step))
        if said is None:
            return directory / str(step)
        say_damaged(directory / str(step), said)
    check_none_lost(directory)
    raise ValueError(f"a checkpoint must be at {directory}, found none; train first")


def say_damaged(folder: epath.Path, problem: str) -> None:
    """Reports a damaged checkpoint."""
    _log.error("checkpoint %s is damaged: %s; trying the one before", folder, problem)


def check_none_lost(directory: epath.Path) -> None:
    """Raises ValueError where checkpoints are left, damaged ones: for those who found no other."""
    aside = [name for name in names_in(directory) if f"{_DAMAGED}-" in name]
    lost = [*map(str, steps_in(directory)), *aside]
    if lost:
        raise ValueError(
            f"a checkpoint in {directory} must be undamaged, none of {', '.join(lost)} is; restore "
            "one from a copy, or remove them to start from the beginning"
        )


def agreed(step: int | None) -> int | None:
    """Process 0's step, on all processes."""
    if jax.process_count() == 1:
        return step
    sent = np.asarray(-1 if step is None else step, np.int64)
    agreed = int(multihost_utils.broadcast_one_to_all(sent.astype(np.int32)))
    return None if agreed < 0 else agreed


def set_aside(folder: epath.Path) -> None:
    """Renames a damaged checkpoint, for someone to look at."""
    for number in range(1, 100):
        target = folder.parent / f"{folder.name}{_DAMAGED}-{number}"
        if not names_in(target):
            move(folder, target) if is_remote(folder) else folder.rename(target)
            return


def remove(folder: epath.Path) -> None:
    """Removes a checkpoint so that being killed on the way leaves no half of one."""
    if is_remote(folder):  # where renaming would copy it
        for name in (manifest.COMMITTED, manifest.NAME):
            (folder / name).unlink()
        folder.rmtree()
        return
    doomed = folder.parent / (folder.name + _DELETING)
    folder.rename(doomed)
    doomed.rmtree()


def tidy(directory: epath.Path) -> None:
    """Removes what earlier runs left half done.

    For the one process that writes there: another one's half-written checkpoint would go as well.
    """
    for path in (directory / name for name in names_in(directory)):
        if _half_written(path) or path.name.endswith(_DELETING) or manifest.TEMPORARY in path.name:
            _log.warning("removing %s, left behind by a run that was cut off", path)
            path.rmtree(missing_ok=True)


def _half_written(path: epath.Path) -> bool:
    """Whether a checkpoint is being written or removed: in a store under its own name already."""
    numbered = is_remote(path) and path.name.isdecimal()
    return numbered and manifest.COMMITTED not in names_in(path)
