"""The models of a sweep: runs with some of their checkpoints, and weights of other stacks."""

import glob
import hashlib
import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from vlp.interop.formats import detect
from vlp.interop.load import load_run
from vlp.interop.loaded import Run
from vlp.interop.runs import RUN, find_run, folder_of, is_run
from vlp.remote import Place
from vlp.sweeps.names import titled

_log = logging.getLogger("vlp")
VECTORS = "vectors:"  # in front of a folder of `vlp embed`
_WHICH = re.compile(r"(.+)@(all|last|every:\d+|\d+)")
_PREFIX = re.compile(r"[a-z_]+:")


@dataclass(frozen=True, eq=False)
class ModelRef:
    """A model that can be loaded.

    Attributes:
        name: as rows call it, without the step.
        source: what `vlp.load` takes.
        step: of a checkpoint; None where it is known once the model is loaded.
        settings: further keyword arguments of `load_run`.
    """

    name: str
    source: str
    step: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The name with the step."""
        return titled(self.name, self.step)

    @property
    def is_stored(self) -> bool:
        """Whether it is a folder of vectors, without the model."""
        return self.source.startswith(VECTORS)

    @cached_property
    def identity(self) -> str:
        """A hash that changes with the files: of their names, sizes and times, not of all bytes."""
        kind, path = VECTORS, Path(self.source.removeprefix(VECTORS))
        if not self.is_stored:
            kind, path = detect(self.source, allow_pickle_weights=True)
        digest = hashlib.sha256(repr((kind, sorted(self.settings.items()))).encode())
        for line in sorted(_files(path)):
            digest.update(line.encode("utf-8", "surrogateescape"))
        return digest.hexdigest()[:32]

    @cached_property
    def samples_seen(self) -> int | None:
        """Steps times the global batch of the run's config; None where no config says it."""
        if self.step is None:  # not of a run
            return None
        _, place = detect(self.source, allow_pickle_weights=True)
        try:
            config = json.loads((folder_of(place) / "config.json").read_text())
            return self.step * int(config["train"]["global_batch_size"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def load(self) -> Run:
        """The model, opened.

        Raises:
            ValueError: see `load_run`.
        """
        return load_run(self.source, **self.settings)


def expand(specs: Sequence[str], *, settings: Mapping[str, Any] | None = None) -> list[ModelRef]:
    """The models that some specs name, each once, in their order.

    A spec is what `vlp.load` takes, `vectors:FOLDER` for those of `vlp embed`, or a pattern of
    runs (`runs/*`), with `@last`, `@all`, `@every:K` (every k-th checkpoint, and the last) or
    `@STEP` behind it for runs.

    Args:
        specs: such texts.
        settings: keyword arguments of `load_run` for all of them.

    Raises:
        ValueError: a spec names nothing, or checkpoints of what is no run.
    """
    found: dict[tuple[str, int | None], ModelRef] = {}
    for spec in specs:
        for ref in _of_spec(spec, dict(settings or {})):
            found.setdefault((ref.source, ref.step), ref)
    return list(found.values())


def _of_spec(spec: str, settings: dict[str, Any]) -> list[ModelRef]:
    match = None if Path(spec).exists() else _WHICH.fullmatch(spec)
    text, which = match.groups() if match else (spec, "")
    prefixed = _PREFIX.match(text) and not Path(text).exists()
    paths = [text] if prefixed or not glob.has_magic(text) else sorted(glob.glob(text))
    models = [path for path in paths if prefixed or _is_model(path)] if len(paths) > 1 else paths
    others = [path for path in paths if path not in models]
    if others:
        _log.warning(
            "%s: %d are no models, such as %s, and are left out", spec, len(others), others[0]
        )
    if not models:
        raise ValueError(f"--models must name models, {spec!r} names none; give a run's folder")
    return [ref for path in models for ref in _of_path(path, which, settings, spec)]


def _of_path(path: str, which: str, settings: dict[str, Any], spec: str) -> list[ModelRef]:
    name = path.rstrip("/")
    if path.startswith(VECTORS):
        return [ModelRef(name, path)]
    try:
        kind, place = detect(path, allow_pickle_weights=settings.get("allow_pickle_weights", False))
    except ValueError as error:
        raise ValueError(f"--models: {error}") from error
    if kind != RUN:
        if which:
            raise ValueError(f"@{which} is of a run's checkpoints, got {spec!r}, which is {kind}")
        return [ModelRef(name, path, settings=settings)]
    folder = folder_of(place)
    if place != folder and place.name.isdecimal():
        run = name.rsplit("/checkpoints/", 1)[0]
        return [ModelRef(run, path, int(place.name), settings)]
    if which in ("", "last"):  # the newest that is not damaged
        steps = [int(find_run(place, weights=settings.get("weights", "auto"))[1].name)]
    else:
        steps = _chosen(_steps(folder), which, path)
    return [ModelRef(name, f"{name}/checkpoints/{step}", step, settings) for step in steps]


def _chosen(steps: list[int], which: str, path: str) -> list[int]:
    if not steps:
        raise ValueError(f"{path} must hold a checkpoint, it has none yet; train first")
    if which == "all":
        return steps
    if which.isdecimal():
        if int(which) not in steps:
            known = ", ".join(map(str, steps))
            raise ValueError(f"{path} has checkpoints {known}, got @{which}; take one of these")
        return [int(which)]
    every = int(which.removeprefix("every:"))
    if not every:
        raise ValueError(f"@every:K must be at least 1, got {which} for {path}")
    return sorted({*steps[every - 1 :: every], steps[-1]})


def _steps(folder: Place) -> list[int]:
    place = folder / "checkpoints"
    names = [path.name for path in place.iterdir()] if place.is_dir() else []
    return sorted(int(name) for name in names if name.isdecimal())


def _is_model(path: str) -> bool:
    """Whether a match of a pattern is a model; a folder beside runs may be something else."""
    return is_run(Path(path)) or not Path(path).is_dir()


def _files(path: Place) -> list[str]:
    """A line a file: its name, size and time."""
    if not path.is_dir():
        return [_line(path, path.name)]
    return [_line(file, str(file.relative_to(path))) for file in path.rglob("*") if file.is_file()]


def _line(file: Any, name: str) -> str:
    status = file.stat()
    time = getattr(status, "st_mtime_ns", None) or getattr(status, "mtime", 0)
    return f"{name} {getattr(status, 'st_size', None) or getattr(status, 'length', 0)} {time}\n"
