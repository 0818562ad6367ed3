"""Which checkpoints a directory holds, which of them are whole, and tidying it up."""

import logging
import os
from typing import Any

import jax
import numpy as np
from etils import epath
from jax.experimental import multihost_utils

from vlp.training.checkpoint import manifest

TEMPORARY = ".orbax-checkpoint-tmp"
_DELETING = ".deleting"
_DAMAGED = ".damaged"
_log = logging.getLogger("vlp")


def saved_steps(directory: Any) -> list[int]:
    """The steps of the committed checkpoints of a run, ascending."""
    directory = absolute(directory)
    return [step for step in _steps(directory) if manifest.is_committed(directory / str(step))]


def absolute(path: Any) -> epath.Path:
    """Orbax wants absolute paths; those of object stores are."""
    text = os.fspath(path)
    return epath.Path(text if "://" in text else os.path.abspath(text))


def newest_intact(directory: epath.Path, *, set_aside: bool) -> int | None:
    """The newest undamaged step, or None; damaged ones are reported, and may be set aside."""
    committed = saved_steps(directory)
    for step in reversed(_steps(directory)):
        problem = manifest.problem(directory / str(step))
        if problem is None:
            return step
        _log.error(
            "checkpoint %s is damaged: %s; trying the one before", directory / str(step), problem
        )
        if set_aside:
            _set_aside(directory / str(step))
    if committed:
        raise ValueError(
            f"a checkpoint in {directory} must be undamaged, none of {committed} is; restore one "
            "from a copy, or remove them to start from the beginning"
        )
    return None


def _steps(directory: epath.Path) -> list[int]:
    if not directory.exists():
        return []
    return sorted(int(path.name) for path in directory.iterdir() if path.name.isdecimal())


def agreed(step: int | None) -> int | None:
    """Process 0's step, on all processes."""
    if jax.process_count() == 1:
        return step
    sent = np.asarray(-1 if step is None else step, np.int64)
    agreed = int(multihost_utils.broadcast_one_to_all(sent.astype(np.int32)))
    return None if agreed < 0 else agreed


def _set_aside(folder: epath.Path) -> None:
    for number in range(1, 100):
        target = folder.parent / f"{folder.name}{_DAMAGED}-{number}"
        if not target.exists():
            folder.rename(target)
            return


def remove(folder: epath.Path) -> None:
    """Removes a checkpoint so that being killed on the way leaves no half of one."""
    doomed = folder.parent / (folder.name + _DELETING)
    folder.rename(doomed)
    doomed.rmtree()


def tidied(directory: epath.Path) -> int | None:
    """The newest undamaged step once what earlier runs left half done is out of the way, or None.

    For the one process that writes there: another one's half-written checkpoint would go as well.
    """
    for path in directory.iterdir() if directory.exists() else ():
        if path.name.endswith(_DELETING) or TEMPORARY in path.name:
            _log.warning("removing %s, left behind by a run that was cut off", path)
            path.rmtree()
    return newest_intact(directory, set_aside=True)
