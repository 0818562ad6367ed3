"""Checkpoints: written while training goes on, committed as one, checked to the byte when read."""

import concurrent.futures
import dataclasses
import logging
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from jax.experimental import multihost_utils

from vlp.training import manifest
from vlp.training.params import leaf_paths

_log = logging.getLogger("vlp")
_TEMPORARY = ".orbax-checkpoint-tmp"
_DELETING = ".deleting"
_DAMAGED = ".damaged"


@dataclasses.dataclass(frozen=True)
class Restored:
    """What a checkpoint holds: the step, the train state on the mesh, and three JSON values."""

    step: int
    state: Any
    loader: Any
    config: Any
    card: Any


class Checkpoints:
    """The checkpoints of one run; one process group writes to a directory at a time.

    A checkpoint is a folder `<step>/`. It is written under another name, then gets a manifest with the
    size and SHA-256 of each of its files, and is renamed last: at any moment it is whole or not
    there. Reading compares the files with the manifest.

    Args:
        directory: made if missing; a local path or `gs://...`.
        keep: how many of the newest checkpoints to keep.
        keep_every: also keep for good those whose step it divides; None for none.
        config: JSON value stored in each.
        card: JSON value stored in each.
    """

    def __init__(
        self,
        directory: Any,
        *,
        keep: int = 3,
        keep_every: int | None = None,
        config: Any = None,
        card: Any = None,
    ):
        if keep < 1:
            raise ValueError(f"keep must be at least 1 checkpoint, got {keep}; try 3")
        if keep_every is not None and keep_every < 1:
            raise ValueError(f"keep_every must be at least 1 step, got {keep_every}; or None")
        self.directory = epath.Path(directory)
        self._keep, self._keep_every = keep, keep_every
        self._json = {"config": config, "card": card}
        self._thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: concurrent.futures.Future[None] | None = None
        self._step: int | None = None
        self._writer = ocp.AsyncCheckpointer(
            ocp.CompositeCheckpointHandler(),
            async_options=ocp.options.AsyncOptions(post_finalization_callback=self._seal),
        )
        if jax.process_index() == 0:
            self.directory.mkdir(parents=True, exist_ok=True)
            _remove_leftovers(self.directory)

    def save(self, step: int, state: Any, *, loader: Any = None) -> None:
        """Starts saving and returns once the arrays are copied off the device.

        Args:
            step: names the checkpoint; one that exists already is left as it is.
            state: the train state.
            loader: JSON value, the data iterator's state after the batch of this step.

        Raises:
            Exception: whatever made the save before this one fail.
        """
        self.wait()
        if step in saved_steps(self.directory):
            return
        self._step = step
        items = {"loader": loader, **self._json}
        self._writer.save(
            self.directory / str(step),
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(_to_nested(state)),
                **{name: ocp.args.JsonSave({"value": value}) for name, value in items.items()},
            ),
        )
        self._pending = self._thread.submit(self._finish, step)

    def check(self) -> None:
        """Raises what made a save fail, if one has; never waits."""
        if self._pending is not None and self._pending.done():
            self.wait()

    def wait(self) -> None:
        """Waits until the save under way is committed; raises what made it fail."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def close(self) -> None:
        """Waits for the save under way and ends the threads."""
        try:
            self.wait()
        finally:
            self._thread.shutdown()
            self._writer.close()

    def restore(self, abstract: Any) -> Restored | None:
        """The newest undamaged checkpoint, or None where none was ever committed.

        A damaged one is reported, set aside as `<step>.damaged`, and the one before it taken.

        Args:
            abstract: shapes and shardings of the state; any number of devices, whatever it was saved on.

        Raises:
            ValueError: when all checkpoints are damaged, or the state has another structure.
        """
        step = _agreed(_newest_intact(self.directory, set_aside=True))
        if step is None:
            return None
        folder = self.directory / str(step)
        state = _restore_arrays(folder, abstract, prefix=())
        return Restored(
            step=step,
            state=state,
            loader=read_json(folder, "loader"),
            config=read_json(folder, "config"),
            card=read_json(folder, "card"),
        )

    def _seal(self) -> None:
        """Writes the manifest; orbax calls this when all files are there, before the commit."""
        final = self.directory / str(self._step)
        temporary = [
            p for p in self.directory.iterdir() if p.name.startswith(final.name + _TEMPORARY)
        ]
        manifest.write(temporary[0] if temporary else final)

    def _finish(self, step: int) -> None:
        self._writer.wait_until_finished()
        if jax.process_index() == 0:
            _log.info("saved checkpoint %d in %s", step, self.directory)
            self._remove_old()

    def _remove_old(self) -> None:
        steps = saved_steps(self.directory)
        for step in steps[: -self._keep]:
            if self._keep_every is None or step % self._keep_every:
                _remove(self.directory / str(step))


def saved_steps(directory: Any) -> list[int]:
    """The steps of the committed checkpoints of a run, ascending."""
    directory = epath.Path(directory)
    return [step for step in _steps(directory) if manifest.is_committed(directory / str(step))]


def find_checkpoint(path: Any, *, step: int | None = None) -> epath.Path:
    """The folder of one undamaged checkpoint.

    Args:
        path: a run's `checkpoints` folder, or the folder of one checkpoint in it.
        step: which one; by default the newest that is undamaged.

    Raises:
        ValueError: when there is none, or the one asked for is damaged.
    """
    path = epath.Path(path)
    if path.name.isdecimal() and step is None:
        path, step = path.parent, int(path.name)
    if step is None:
        newest = _newest_intact(path, set_aside=False)
        if newest is None:
            raise ValueError(f"a checkpoint must be at {path}, found none; train first")
        return path / str(newest)
    if step not in saved_steps(path):
        raise ValueError(f"a checkpoint must be at {path / str(step)}, have {saved_steps(path)}")
    problem = manifest.problem(path / str(step))
    if problem:
        raise ValueError(f"checkpoint {path / str(step)} is damaged: {problem}; use another step")
    return path / str(step)


def load_params(
    path: Any, *, which: str = "params", step: int | None = None, like: Any = None
) -> Any:
    """The parameters of a checkpoint, without knowing the optimiser or the machine it was trained on.

    Args:
        path: a run's `checkpoints` folder, or the folder of one checkpoint in it.
        which: `params` or `teacher`, the moving average.
        step: which checkpoint; by default the newest that is undamaged.
        like: shapes and shardings to restore into; by default a nested dict of numpy arrays.

    Raises:
        ValueError: when there is no such checkpoint or it has no teacher.
    """
    if which not in ("params", "teacher"):
        raise ValueError(f"which must be params or teacher, got {which}")
    folder = find_checkpoint(path, step=step)
    saved = _saved_shapes(folder)
    if which not in saved:
        raise ValueError(
            f"checkpoint {folder} must hold a {which}, got {', '.join(saved)}; set ema_decay"
        )
    if like is not None:
        return _restore_arrays(folder, like, prefix=(which,))
    return _with_int_keys(_read_arrays(folder, {which: saved[which]})[which])


def read_json(folder: Any, name: str) -> Any:
    """One JSON value of a checkpoint folder: `loader`, `config` or `card`."""
    with ocp.Checkpointer(ocp.JsonCheckpointHandler()) as reader:
        return reader.restore(epath.Path(folder) / name)["value"]


def _to_nested(tree: Any) -> dict[str, Any]:
    """Any pytree as nested dicts of arrays: what is on disk knows neither optax nor dataclasses."""
    nested: dict[str, Any] = {}
    for path, leaf in leaf_paths(tree):
        _put(nested, path, leaf)
    return nested


def _put(nested: dict[str, Any], path: tuple[str, ...], leaf: Any) -> None:
    for part in path[:-1]:
        nested = nested.setdefault(part, {})
    nested[path[-1]] = leaf


def _saved_shapes(folder: epath.Path) -> dict[str, Any]:
    """Shapes and types of the arrays in a checkpoint, nested as on disk."""
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
        tree = reader.metadata(folder / "state").item_metadata.tree
    return jax.tree.map(lambda array: jax.ShapeDtypeStruct(array.shape, array.dtype), tree)


def _restore_arrays(folder: epath.Path, abstract: Any, *, prefix: tuple[str, ...]) -> Any:
    """A pytree of the given shapes and shardings from the part of the checkpoint under `prefix`."""
    wanted = {(*prefix, *path): leaf for path, leaf in leaf_paths(abstract)}
    saved = dict(leaf_paths(_saved_shapes(folder)))
    for path, leaf in wanted.items():
        found = saved.get(path)
        if found is None or found.shape != leaf.shape or found.dtype != leaf.dtype:
            raise ValueError(
                f"checkpoint {folder} must fit the config: {'/'.join(path)} should be "
                f"{leaf.dtype}{list(leaf.shape)}, is "
                f"{'missing' if found is None else f'{found.dtype}{list(found.shape)}'}; restore with "
                "the config of that run, or start another run elsewhere"
            )
    nested: dict[str, Any] = {}
    for path, leaf in wanted.items():
        _put(nested, path, leaf)
    restored = dict(leaf_paths(_read_arrays(folder, nested)))
    return jax.tree.unflatten(jax.tree.structure(abstract), [restored[path] for path in wanted])


def _read_arrays(folder: epath.Path, wanted: dict[str, Any]) -> dict[str, Any]:
    """The arrays `wanted` (a part of what is saved): with a sharding on the mesh, without in numpy."""

    def how(leaf: Any) -> Any:
        if getattr(leaf, "sharding", None) is None:
            return ocp.RestoreArgs(restore_type=np.ndarray, dtype=leaf.dtype)
        return ocp.ArrayRestoreArgs(sharding=leaf.sharding, dtype=leaf.dtype)

    args = ocp.args.PyTreeRestore(
        wanted, restore_args=jax.tree.map(how, wanted), partial_restore=True
    )
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
        return reader.restore(folder / "state", args=args)


def _with_int_keys(tree: Any) -> Any:
    """Positions in lists of layers as numbers again."""
    if not isinstance(tree, Mapping):
        return tree
    return {int(k) if k.isdecimal() else k: _with_int_keys(v) for k, v in tree.items()}


def _newest_intact(directory: epath.Path, *, set_aside: bool) -> int | None:
    """The newest undamaged step, on process 0; a damaged one is said loudly and may be set aside."""
    if jax.process_index() != 0:
        return None
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
            f"at least one checkpoint in {directory} must be undamaged, all of {committed} are damaged; "
            "restore them from a copy, or remove them to start from the beginning"
        )
    return None


def _steps(directory: epath.Path) -> list[int]:
    if not directory.exists():
        return []
    return sorted(int(path.name) for path in directory.iterdir() if path.name.isdecimal())


def _agreed(step: int | None) -> int | None:
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


def _remove(folder: epath.Path) -> None:
    """Removes a checkpoint so that being killed on the way leaves no half of one."""
    doomed = folder.parent / (folder.name + _DELETING)
    folder.rename(doomed)
    doomed.rmtree()


def _remove_leftovers(directory: epath.Path) -> None:
    """Removes what earlier runs left half written or half deleted."""
    for path in directory.iterdir():
        if path.name.endswith(_DELETING) or _TEMPORARY in path.name:
            _log.warning("removing %s, left behind by a run that was cut off", path)
            path.rmtree()
