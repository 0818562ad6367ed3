"""A loaded model as the folder of a run, for every command that takes one."""

import os
from pathlib import Path

import jax.numpy as jnp
from flax import nnx

from vlp.files import whole_folder
from vlp.interop.card import FILE, write_card
from vlp.interop.loaded import Run
from vlp.remote import Place, place, resolved
from vlp.training.checkpoint.checkpoints import Checkpoints
from vlp.training.state import TrainState


def save_run(run: Run, folder: str | os.PathLike) -> Place:
    """Writes a model as a run of no steps: card, tokenizer and one checkpoint.

    The folder appears whole or not at all.

    Args:
        run: a loaded model.
        folder: a folder that does not exist, or is empty.

    Raises:
        ValueError: the folder holds something.
    """
    check_free(folder)
    target = resolved(folder)
    with whole_folder(target, last=FILE) as partial:
        _write(run, partial)
        if target.exists():
            target.rmdir()  # empty, as checked
    return target


def check_free(folder: str | os.PathLike) -> None:
    """Raises ValueError where the folder holds something, or is a file."""
    path = place(folder)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ValueError(f"{path} must not exist yet, or be empty; give another folder")


def _write(run: Run, folder: Path) -> None:
    if run.tokenizer is not None:
        run.tokenizer.save(folder / run.card["tokenizer"]["file"])
    write_card(run.card, folder)
    checkpoints = Checkpoints(folder / "checkpoints", config={}, card=run.card)
    state = TrainState(
        step=jnp.asarray(run.step, jnp.int32),
        params=nnx.to_pure_dict(nnx.state(run.model)),
        opt_state=(),
    )
    checkpoints.save(run.step, state)
    checkpoints.close()
