"""Checkpoints: written while training goes on, committed as one, checked to the byte when read."""

import concurrent.futures
import dataclasses
import functools
import logging
from collections.abc import Callable, Collection
from typing import Any

import jax
import orbax.checkpoint as ocp
from etils import epath

from vlp.parallel.together import on_first, said_anywhere
from vlp.training.checkpoint import contents, folders, manifest, stores
from vlp.training.checkpoint.folders import saved_steps
from vlp.training.checkpoint.summing import Parts, Summing

_log = logging.getLogger("vlp")


@dataclasses.dataclass(frozen=True)
class Found:
    """A checkpoint that is whole: its step, and the JSON values in it."""

    step: int
    loader: Any
    config: Any
    card: Any


@dataclasses.dataclass(frozen=True)
class Restored(Found):
    """What a checkpoint holds, with the train state on the mesh."""

    state: Any


class Checkpoints:
    """The checkpoints of one run; one process group writes to a directory at a time.

    A checkpoint is a folder `<step>/`. It is written under another name, then gets a manifest with
    the size and SHA-256 of each of its files, each summed by the process that wrote it, and is
    renamed last. In an object store, where nothing can be renamed, a file says last that all is
    there. So at any moment it is whole or not there. Reading compares the files with the manifest,
    each process a share of them.

    Nothing is written before the first `save`, and nothing removed before `newest`.

    Args:
        directory: made if missing; a local path, `gs://...` or `s3://...`.
        keep: how many of the newest checkpoints to keep.
        keep_every: also keep for good the first after each so many samples, which the state of the
            loader counts as `samples`; None for none.
        config: JSON value stored in each.
        card: JSON value stored in each.
        before_commit: called on every process when its arrays are written, before the commit.
    """

    def __init__(
        self,
        directory: Any,
        *,
        keep: int = 3,
        keep_every: int | None = None,
        config: Any = None,
        card: Any = None,
        before_commit: Callable[[], object] = lambda: None,
    ):
        if keep < 1:
            raise ValueError(f"keep must be at least 1 checkpoint, got {keep}; try 3")
        if keep_every is not None and keep_every < 1:
            raise ValueError(f"keep_every must be at least 1 sample, got {keep_every}; or None")
        self.directory = folders.absolute(directory)
        self._keep, self._keep_every = keep, keep_every
        self._json = {"config": config, "card": card}
        self._thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: concurrent.futures.Future[None] | None = None
        self._step: int | None = None
        self._writer = ocp.AsyncCheckpointer(
            Summing(before_commit, **stores.ways_of(self.directory)),
            async_options=ocp.options.AsyncOptions(post_finalization_callback=self._seal),
            **stores.ways_of(self.directory),
        )

    def save(self, step: int, state: Any, *, loader: Any = None) -> None:
        """Starts saving and returns once the arrays are copied off the device.

        Args:
            step: names the checkpoint; one that exists already is left as it is.
            state: the train state.
            loader: JSON value, the data iterator's state after the batch of this step.

        Raises:
            RuntimeError: when the save before this one has failed.
        """
        self.wait()
        if step in saved_steps(self.directory):
            return
        self._step = step
        if jax.process_index() == 0:
            self.directory.mkdir(parents=True, exist_ok=True)
        values = {"loader": loader, **self._json}
        arrays = contents.by_folder(contents.to_nested(state))
        self._writer.save(
            self.directory / str(step),
            args=Parts(
                **{name: ocp.args.PyTreeSave(part) for name, part in arrays.items()},
                **{name: ocp.args.JsonSave({"value": value}) for name, value in values.items()},
            ),
        )
        self._pending = self._thread.submit(self._finish, step)

    def check(self) -> None:
        """Raises RuntimeError if a save has failed; never waits."""
        if self._pending is not None and self._pending.done():
            self.wait()

    def wait(self) -> None:
        """Waits until the save under way is committed; raises RuntimeError if it fails."""
        pending, self._pending = self._pending, None
        if pending is None:
            return
        try:
            pending.result()
        except Exception as error:
            raise RuntimeError(
                f"checkpoint {self._step} could not be saved in {self.directory}: {error}; make "
                "room or mend the disk, then start again from the one before"
            ) from error

    def close(self) -> None:
        """Waits for the save under way and ends the threads."""
        try:
            self.wait()
        finally:
            self._thread.shutdown()
            self._writer.close()

    def newest(self) -> Found | None:
        """The newest undamaged checkpoint without its arrays; None where there is none at all.

        A damaged one is reported, set aside as `<step>.damaged-1`, and the one before it taken;
        what a run that was cut off left half written is removed.

        Raises:
            ValueError: when all checkpoints are damaged, those set aside by an earlier start too.
        """
        step = self._newest_intact()
        if step is None:
            return None
        folder = self.directory / str(step)
        return Found(
            step, **{name: contents.read_json(folder, name) for name in contents.JSON_ITEMS}
        )

    def read(self, found: Found, abstract: Any) -> Any:
        """The train state of a checkpoint.

        Args:
            found: see `newest`.
            abstract: shapes and shardings of the state, on any number of devices.

        Raises:
            ValueError: when the state has another structure.
        """
        return contents.restore_arrays(self.directory / str(found.step), abstract, prefix=())

    def restore(self, abstract: Any) -> Restored | None:
        """`newest` and `read` in one."""
        found = self.newest()
        if found is None:
            return None
        return Restored(**vars(found), state=self.read(found, abstract))

    def _newest_intact(self) -> int | None:
        """As `folders.newest_intact`, by all processes: each looks at its share of the files."""
        on_first(lambda: folders.tidy(self.directory))
        share = dict(process=jax.process_index(), processes=jax.process_count())
        while (step := self._newest()) is not None:
            folder = self.directory / str(step)
            problem = said_anywhere(functools.partial(manifest.problem, folder, **share))
            if problem is None:
                return step
            folders.say_damaged(folder, problem)
            on_first(functools.partial(folders.set_aside, folder))
        on_first(lambda: folders.check_none_lost(self.directory))
        return None

    def _newest(self) -> int | None:
        steps: list[int] = []
        on_first(lambda: steps.extend(folders.steps_in(self.directory)))
        return folders.agreed(steps[-1] if steps else None)

    def _seal(self) -> None:
        """Writes the manifest; orbax calls this when all files are there, before the commit."""
        final = self.directory / str(self._step)
        temporary = [
            p
            for p in self.directory.iterdir()
            if p.name.startswith(final.name + manifest.TEMPORARY)
        ]
        manifest.write(temporary[0] if temporary else final, processes=jax.process_count())

    def _finish(self, step: int) -> None:
        self._writer.wait_until_finished()
        if jax.process_index() == 0:
            _log.info("saved checkpoint %d in %s", step, self.directory)
            self._remove_old()

    def _remove_old(self) -> None:
        """Removes all but the newest, and but the first in each period of `keep_every`."""
        kept = 0
        for step in saved_steps(self.directory)[: -self._keep]:
            folder = self.directory / str(step)
            period = self._period(folder)
            if period > kept:
                kept = period
            else:
                folders.remove(folder)

    def _period(self, folder: epath.Path) -> int:
        """How often `keep_every` was full at a checkpoint; 0 for one that cannot be read."""
        if self._keep_every is None:
            return 0
        try:
            return contents.read_json(folder, "loader")["samples"] // self._keep_every
        except (OSError, ValueError) as error:
            _log.warning("checkpoint %s is damaged: %s; not kept", folder, error)
            return 0


def find_checkpoint(
    path: Any,
    *,
    step: int | None = None,
    weights: Callable[[epath.Path], Collection[str]] = lambda folder: contents.WEIGHTS,
) -> epath.Path:
    """The folder of one checkpoint of which what is to be read is undamaged.

    Args:
        path: a run's `checkpoints` folder, or the folder of one checkpoint in it.
        step: which one; by default the newest that is undamaged.
        weights: which weights will be read of a checkpoint, of `params`, `averaged` and `momentum`;
            neither others nor the optimiser's state are looked at.

    Raises:
        ValueError: when there is none, or the one asked for is damaged.
    """
    path = folders.absolute(path)
    if path.name.isdecimal() and step is None:
        path, step = path.parent, int(path.name)

    def problem(folder: epath.Path) -> str | None:
        said = manifest.problem(folder, but=contents.ARRAYS)
        if said is None:
            unread = contents.unread(manifest.folders(folder), weights(folder))
            said = manifest.problem(folder, but=unread)
        return said

    if step is None:
        return folders.newest_intact(path, problem)
    if step not in saved_steps(path):
        raise ValueError(f"a checkpoint must be at {path / str(step)}, have {saved_steps(path)}")
    if said := problem(path / str(step)):
        raise ValueError(f"checkpoint {path / str(step)} is damaged: {said}; use another step")
    return path / str(step)


def load_params(
    path: Any, *, which: str = "params", step: int | None = None, like: Any = None
) -> Any:
    """The parameters of a checkpoint, whatever the optimiser and machine it was trained with.

    Args:
        path: a run's `checkpoints` folder, or the folder of one checkpoint in it.
        which: `params`, or `averaged` or `momentum`, the moving averages.
        step: which checkpoint; by default the newest that is undamaged.
        like: shapes and shardings to restore into; by default a nested dict of numpy contents.

    Raises:
        ValueError: when there is no such checkpoint or it holds no such average.
    """
    if which not in contents.WEIGHTS:
        raise ValueError(f"which must be params, averaged or momentum, got {which}")
    folder = find_checkpoint(path, step=step, weights=lambda folder: (which,))
    return read_params(folder, which=which, like=like)


def read_params(folder: epath.Path, *, which: str, like: Any = None) -> Any:
    """As `load_params`, of a checkpoint that `find_checkpoint` has found."""
    saved = contents.saved_shapes(folder)
    which = contents.place_of(which, saved)
    if which not in saved:
        raise ValueError(
            f"checkpoint {folder} must hold {which} weights, got {', '.join(saved)}; an average is "
            "kept with train.ema_decay, a momentum with an objective that has one"
        )
    if like is not None:
        return contents.restore_arrays(folder, like, prefix=(which,))
    return contents.with_int_keys(contents.read_arrays(folder, {which: saved[which]})[which])


def read_json(folder: Any, name: str) -> Any:
    """One JSON value of a checkpoint folder: `loader`, `config` or `card`."""
    return contents.read_json(folders.absolute(folder), name)
