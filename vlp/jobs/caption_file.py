"""A file of captions, written line by line so that a stopped job goes on where it was.

  captions.jsonl                  at the end: a line a picture, in the data's order
  captions.jsonl.manifest.json    the model, the data and the settings
  captions.jsonl.data.json        what the data hold, and what in them is no sample
  captions.jsonl.parts/00000.jsonl ...   until then: stretches of the data, each growing by lines

A part belongs to one process at a time; the first process joins them when all are whole.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from data_pipelines.sources.fingerprints import same_data
from vlp.evals.results import write_json
from vlp.files import named, write_whole
from vlp.jobs.outputs import CAPTIONS, check_output
from vlp.vectors.shards import remove_partials

FORMAT = 1
# What must be the same for a job to go on.
_FIXED = (
    "format", "model", "preprocess", "tokenizer", "data", "samples", "part_size", "method",
    "settings", "seed",
)  # fmt: skip


class CaptionFile:
    """The captions of one job; nothing is written before `claim`.

    Args:
        path: of the file: new, or of the same job.
        manifest: JSON values that say what is captioned and how; must hold `samples` and
            `part_size`.

    Raises:
        ValueError: the file is of something else.
    """

    def __init__(self, path: str | Path, manifest: Mapping[str, Any]) -> None:
        self.path = Path(path)
        self.manifest = json.loads(json.dumps({"format": FORMAT, **manifest}))
        self.manifest_path = self.path.with_name(f"{self.path.name}.manifest.json")
        self.data_table = self.path.with_name(f"{self.path.name}.data.json")
        self.parts = self.path.with_name(f"{self.path.name}.parts")
        check_output("--out", self.path, CAPTIONS)
        if self.manifest_path.is_file():
            self._check_same(_read_manifest(self.manifest_path))
            self._check_whole()

    def claim(self) -> None:
        """Makes the file this job's; the other processes of a job leave that to the first."""
        if self.path.is_file():  # stopped after the end, before it had cleaned up
            shutil.rmtree(self.parts, ignore_errors=True)
            return
        self.parts.mkdir(parents=True, exist_ok=True)
        remove_partials(self.path.parent, of=f"{self.path.name}.")
        if not self.manifest_path.is_file():
            write_json(self.manifest_path, self.manifest)

    def __len__(self) -> int:
        """The number of parts."""
        return -(-self.manifest["samples"] // self.manifest["part_size"])

    def samples(self, part: int) -> tuple[int, int]:
        """The first sample of a part, and the one behind its last."""
        size = self.manifest["part_size"]
        return part * size, min((part + 1) * size, self.manifest["samples"])

    def lines(self, part: int) -> int:
        """The whole lines that a part has."""
        if self.path.is_file():
            first, stop = self.samples(part)
            return stop - first
        path = self._part(part)
        if not path.is_file():
            return 0
        first, stop = self.samples(part)
        count = _count_lines(path)
        if count > stop - first:
            raise ValueError(
                f"{path} must have a line a picture, {stop - first} at most, got {count}; remove "
                "it, and its pictures are captioned anew"
            )
        return count

    def is_done(self, part: int) -> bool:
        """Whether all lines of a part are there."""
        first, stop = self.samples(part)
        return self.lines(part) == stop - first

    def repair(self, part: int) -> None:
        """Cuts off half a line at the end of a part, which a killed process may leave."""
        path = self._part(part)
        if not path.is_file():
            return
        with path.open("rb+") as file:
            whole = 0
            for line in file:
                whole += len(line) if line.endswith(b"\n") else 0
            file.truncate(whole)

    def append(self, part: int, rows: Iterable[Mapping[str, Any]]) -> None:
        """Adds lines to a part."""
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        path = self._part(part)
        with named(path), path.open("ab") as file:
            file.write("".join(lines).encode())

    def finish(self) -> None:
        """Joins the parts; a reader sees the file whole or not at all.

        Raises:
            ValueError: one of them lacks lines.
        """
        if self.path.is_file():
            return
        lacking = [part for part in range(len(self)) if not self.is_done(part)]
        if lacking:
            raise ValueError(
                f"{self.path.parent} must be a folder that all processes share, this one does not "
                f"see {len(lacking)} of {len(self)} parts; give one on a shared disk"
            )
        write_whole(self.path, self._join)
        shutil.rmtree(self.parts)

    def rows(self) -> Iterable[dict[str, Any]]:
        """The lines of the finished file."""
        with self.path.open(encoding="utf-8", newline="\n") as file:
            yield from map(json.loads, file)

    def _join(self, target: Path) -> None:
        with target.open("wb") as file:
            for part in range(len(self)):
                with self._part(part).open("rb") as lines:
                    shutil.copyfileobj(lines, file)

    def _part(self, part: int) -> Path:
        return self.parts / f"{part:05d}.jsonl"

    def _check_whole(self) -> None:
        """Raises ValueError where the finished file is not as it was written."""
        if self.path.is_file() and _count_lines(self.path) != self.manifest["samples"]:
            raise ValueError(
                f"{self.path} is finished and must have {self.manifest['samples']} lines, a line a "
                f"picture, got {_count_lines(self.path)}; give another --out, or remove it to "
                "caption all anew"
            )

    def _check_same(self, there: Mapping[str, Any]) -> None:
        for key in _FIXED:
            if not same_data(there.get(key), self.manifest.get(key)):
                raise ValueError(
                    f"{self.path} has captions of another {key}, {_brief(there.get(key))}, and "
                    f"this job has {_brief(self.manifest.get(key))}; give another --out, or what "
                    "it was to go on"
                )


def _count_lines(path: Path) -> int:
    """The whole lines of a file of captions; half a line at the end is none."""
    count = 0
    with path.open("rb") as file:
        for line in file:
            if not line.startswith(b"{"):
                raise ValueError(
                    f"{path}, line {count + 1}: must be a caption as JSON, got {line[:80]!r}; "
                    "remove the file, and its pictures are captioned anew"
                )
            count += line.endswith(b"\n")
    return count


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} must be JSON, got {error}; give another --out") from error
    if not isinstance(manifest, dict):
        raise ValueError(f"{path} must hold an object; give another --out")
    return manifest


def _brief(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 200 else f"{text[:200]}…"
