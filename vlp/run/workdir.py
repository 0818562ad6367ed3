"""A run's folder: what lies where, and whether it belongs to this config."""

import contextlib
import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
from etils import epath

from vlp.files import write_bytes, write_json, write_whole
from vlp.interop.card import FILE, read_card, write_card
from vlp.interop.runs import read_tokenizer_of
from vlp.jobs.outputs import check_folder
from vlp.parallel.lock import Lock
from vlp.parallel.store_lock import StoreLock
from vlp.parallel.together import everywhere
from vlp.remote import place, put_folder, resolved
from vlp.run.config_changes import check_same_config, check_same_words
from vlp.run.mirror import Mirror, PutUp
from vlp.training.checkpoint.checkpoints import saved_steps
from vlp.training.loop.trackers import Tracker, read_rows
from vlp.version import versions

_log = logging.getLogger("vlp")


class Workdir:
    """The files of a run under one folder.

    Of a run in an object store the files lie in a folder of this process, for nothing can be
    appended to in a store; `in_step` carries them there and back. Its checkpoints are in the store.

    Args:
        address: a folder, here or in a store.

    Attributes:
        address: the run's folder, as those name it who want to read it.
        path: the folder of its files here.
        name: what it is called.
        config, versions, data, metrics, ids, rejects, report: files in it.
        checkpoints, results, tensorboard, profile: folders in it.
    """

    def __init__(self, address: str | Path):
        self.address = place(address)
        self.name = resolved(address).name
        self._mirror = Mirror(self.address) if isinstance(self.address, epath.Path) else None
        self.path = self._mirror.folder if self._mirror else Path(address)
        self.config = self.path / "config.json"
        self.versions = self.path / "versions.json"
        self.data = self.path / "data.json"
        self.metrics = self.path / "metrics.jsonl"
        self.ids = self.path / "ids.jsonl"
        self.rejects = self.path / "rejects.jsonl"
        self.report = self.path / "report.html"
        self.checkpoints = self.address / "checkpoints"
        self.results = self.path / "results"
        self.tensorboard = self.path / "tensorboard"
        self.profile = self.path / "profile"

    def lock(self) -> Lock | StoreLock:
        """The lock of the folder."""
        return StoreLock(self.address) if self._mirror else Lock(self.path)

    def put_up(self) -> None:
        """Puts up what has changed of the files here, where the run lies in a store."""
        if self._mirror:
            self._mirror.put_up()

    def put_up_folder(self, folder: Path, *, last: str) -> None:
        """Likewise a folder in it, see `vlp.remote.put_folder`."""
        if self._mirror:
            put_folder(folder, self.address_of(folder), last=last)

    def trackers(self) -> list[Tracker]:
        """What puts metrics up now and then, where the run lies in a store."""
        return [PutUp(self._mirror)] if self._mirror else []

    def address_of(self, path: Path) -> Any:
        """Where those find a file or folder of the run who want to read it."""
        return self.address / path.relative_to(self.path).as_posix()

    @contextlib.contextmanager
    def in_step(self) -> Iterator[None]:
        """While entered, a run in a store has its files here, and at the end the store has them."""
        if self._mirror is None:
            yield
            return
        everywhere(self._mirror.fetch)
        try:
            yield
        except BaseException:
            try:
                self._mirror.put_up()
            except Exception as error:  # the first failure is the one to be told
                _log.error("%s could not be put up to date: %s", self.address, error)
            raise
        self._mirror.put_up()

    @property
    def begun(self) -> bool:
        """Whether a step was taken here; until then nothing in it binds the next start."""
        metrics = self.metrics.is_file() and self.metrics.stat().st_size > 0
        return metrics or bool(saved_steps(self.checkpoints))

    def check(self, config: Mapping[str, Any], *, accept_changes: bool, must_exist: bool) -> None:
        """Refuses a folder that is not this config's; writes nothing.

        Raises:
            ValueError: when it holds a run of another config and changes are not accepted, or of
                another tokenizer.
        """
        existing = self.config.is_file()
        if must_exist and not existing:
            raise ValueError(f"--resume needs a run in --workdir, {self.address} holds none")
        check_folder("--workdir", self.address, manifest=self.config.name, ours="a run of vlp")
        if existing and self.begun:
            before = self.read_config()
            check_same_words(before, config, self.address)
            if not accept_changes:
                check_same_config(before, config, self.address)

    def check_free(self, setting: str, name: str) -> None:
        """Refuses a folder for what a run makes in the end that is not in this one, or not free.

        Raises:
            ValueError: names the setting that says it.
        """
        files = (self.config, self.versions, self.data, self.metrics, self.ids, self.rejects)
        folders = (self.checkpoints, self.results, self.tensorboard, self.profile)
        own = sorted({path.name for path in (*files, self.report, *folders)} | {FILE, "wandb"})
        parts = Path(name).parts
        if not parts or Path(name).is_absolute() or ".." in parts or parts[0] in own:
            raise ValueError(
                f"{setting} must be a folder in the workdir beside what a run has there "
                f'({", ".join(own)}), got {name!r}; try "exported"'
            )

    def claim(self, config: Mapping[str, Any], card: Mapping[str, Any], tokenizer: Any) -> None:
        """Makes the folder a run's: config, card, tokenizer, and what it is made with."""
        write_json(self.config, config)  # first: whatever is cut off from here on may begin again
        if tokenizer is not None:
            file = self.path / card["tokenizer"]["file"]
            if not (self.begun and file.is_file()):
                write_whole(file, tokenizer.save)
        write_card(card, self.path)
        device = jax.devices()[0]
        facts = dict(
            versions=versions(),
            device=device.device_kind,
            platform=device.platform,
            devices=jax.device_count(),
            processes=jax.process_count(),
            seed=config["seed"],
        )
        write_json(self.versions, facts)
        self.put_up()

    @contextlib.contextmanager
    def unchanged_unless_a_step_is_taken(self) -> Iterator[None]:
        """Puts back what says how a run goes on, where a start of it fails before its first step.

        For process 0.
        """
        files = (self.config, self.path / FILE, self.versions, self.data) if self.begun else ()
        before = {file: file.read_bytes() for file in files if file.is_file()}
        steps = self._metrics_bytes()
        try:
            yield
        except BaseException:
            if steps.startswith(self._metrics_bytes()):  # nothing is new; a resumed run cuts lines
                for file, content in before.items():
                    write_bytes(file, content)
            raise

    def _metrics_bytes(self) -> bytes:
        return self.metrics.read_bytes() if self.metrics.is_file() else b""

    def read_tokenizer(self) -> Any:
        """The tokenizer of the run that is here; None where none has begun."""
        if not ((self.path / FILE).is_file() and self.begun):
            return None
        return read_tokenizer_of(self.path, read_card(self.path))

    def read_config(self) -> dict[str, Any]:
        """The resolved config of the run.

        Raises:
            ValueError: when there is none, or it is no JSON.
        """
        if not self.config.is_file():
            raise ValueError(f"--workdir must hold a run (a config.json), {self.address} does not")
        try:
            return json.loads(self.config.read_text())
        except ValueError as error:
            raise ValueError(
                f"{self.config} must be JSON, got {error}; restore it, or choose another --workdir"
            ) from error

    def metrics_rows(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl."""
        return read_rows(self.metrics)
