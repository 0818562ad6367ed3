"""A folder of filtered samples, written part by part so that a stopped job goes on where it was."""

from __future__ import annotations

import json
import logging
import shutil
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from data_pipelines.jobs.tar_write import write_tar
from data_pipelines.sources.fingerprints import same_data
from vlp.evals.results import write_json
from vlp.files import write_whole
from vlp.vectors.shards import remove_partials

SOURCES = ("web", "synthetic")
_log = logging.getLogger("vlp")
# What must be the same for a job to go on.
_FIXED = (
    "model", "preprocess", "tokenizer", "data", "samples", "captions", "threshold", "part_size",
)  # fmt: skip


class FilterFolder:
    """The results of one job; nothing is written before `claim`.

    Args:
        path: of the folder: new, empty, or of the same job.
        manifest: JSON values that say what is filtered and how; must hold `samples` and
            `part_size`.

    Raises:
        ValueError: the folder is of something else.
    """

    def __init__(self, path: str | Path, manifest: Mapping[str, Any]) -> None:
        self.path, self.manifest = Path(path), dict(manifest)
        self.settings, self.lines = self.path / "filter.json", self.path / "manifest.jsonl"
        self.data_table = self.path / "data.json"
        if self.settings.is_file():
            self._check_same(json.loads(self.settings.read_text(encoding="utf-8")))
        elif self.path.exists() and (not self.path.is_dir() or any(self.path.glob("[!.]*"))):
            raise ValueError(
                f"--out must be new, empty or of an earlier vlp filter, {self.path} holds other "
                "things; give another"
            )

    def __len__(self) -> int:
        """The number of parts."""
        return -(-self.manifest["samples"] // self.manifest["part_size"])

    def claim(self) -> None:
        """Makes the folder this job's; the other processes of a job leave that to the first.

        A part whose tar is gone is not done.

        Raises:
            ValueError: a tar of a finished job is gone.
        """
        (self.path / "parts").mkdir(parents=True, exist_ok=True)
        for folder in (self.path, self.path / "parts"):
            remove_partials(folder)
        if not self.settings.is_file():
            write_json(self.settings, self.manifest)
        for part in self._without_tar():
            if self.lines.is_file():
                raise ValueError(
                    f"{self.path} is finished and must have {part:05d}.tar, of which "
                    f"{self.lines.name} says that captions were kept; put it back, or give "
                    "another --out"
                )
            _log.warning("%s: %05d.tar is gone, its part is made anew", self.path, part)
            self._part(part).unlink()

    def samples(self, part: int) -> tuple[int, int]:
        """The first sample of a part, and the one behind its last."""
        size = self.manifest["part_size"]
        return part * size, min((part + 1) * size, self.manifest["samples"])

    def is_done(self, part: int) -> bool:
        """Whether a part is there: its lines are written last."""
        return self.lines.is_file() or self._part(part).is_file()

    def put(self, part: int, lines: Iterable[Mapping[str, Any]], samples: Iterable[bytes]) -> None:
        """Writes a part: its tar, unless nothing was kept, then its lines."""
        kept = list(samples)
        if kept:
            write_whole(self.path / f"{part:05d}.tar", lambda path: write_tar(path, kept))
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        write_whole(self._part(part), lambda path: path.write_text(text, encoding="utf-8"))

    def finish(self) -> None:
        """Joins the lines; a reader sees the manifest whole or not at all.

        Raises:
            ValueError: a part is not there.
        """
        if not self.lines.is_file():
            lacking = [part for part in range(len(self)) if not self.is_done(part)]
            if lacking:
                raise ValueError(
                    f"{self.path} must be a folder that all processes share, this one does not see "
                    f"{len(lacking)} of {len(self)} parts; give one on a shared disk"
                )
            write_whole(self.lines, self._join)
        shutil.rmtree(self.path / "parts")

    def scores(self) -> tuple[dict[str, tuple[int, np.ndarray]], Counter[str]]:
        """Captions kept and all scores, by source; and the samples without any, by reason."""
        kept, found = Counter[str](), {name: array("d") for name in SOURCES}
        faults = Counter[str]()
        with self.lines.open(encoding="utf-8", newline="\n") as file:
            for line in map(json.loads, file):
                if "error" in line:
                    faults[line["error"]] += 1
                    continue
                kept[line["source"]] += line["kept"]
                found[line["source"]].append(line["score"])
        return {name: (kept[name], np.asarray(found[name])) for name in SOURCES}, faults

    def _without_tar(self) -> list[int]:
        """The parts that kept captions and whose tar is not there."""
        files = (
            [self.lines]
            if self.lines.is_file()
            else sorted(self._part(0).parent.glob("[0-9]*.jsonl"))
        )
        kept: set[int] = set()
        for path in files:
            with path.open(encoding="utf-8", newline="\n") as file:
                rows = (line for line in map(json.loads, file) if line.get("kept"))
                kept |= {row["index"] // self.manifest["part_size"] for row in rows}
        return sorted(part for part in kept if not (self.path / f"{part:05d}.tar").is_file())

    def _join(self, target: Path) -> None:
        with target.open("wb") as file:
            for part in range(len(self)):
                with self._part(part).open("rb") as lines:
                    shutil.copyfileobj(lines, file)

    def _part(self, part: int) -> Path:
        return self.path / "parts" / f"{part:05d}.jsonl"

    def _check_same(self, there: Mapping[str, Any]) -> None:
        for key in _FIXED:
            if not same_data(there.get(key), self.manifest.get(key)):
                raise ValueError(
                    f"{self.path} was filtered with another {key}, {str(there.get(key))[:200]}, "
                    f"and this job has {str(self.manifest.get(key))[:200]}; give another --out, or "
                    "what it was to go on"
                )
