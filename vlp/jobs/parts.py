"""What a job writes part by part, bound to it by a manifest, so that a stopped one goes on."""

import abc
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from data_pipelines.sources.fingerprints import same_data
from vlp.files import write_json, write_whole

_FIXED = ("format", "model", "preprocess", "tokenizer", "data", "samples")


class Parts(abc.ABC):
    """The output of one job; nothing is written before `claim`.

    Part k is of the samples k * size to (k + 1) * size (not included) of the data, and belongs to
    one process at a time.

    Args:
        path: of the output.
        manifest: JSON values that say what is done and how, of `vlp.jobs.job.provenance` and more.
        manifest_path: the file for them.
        data_table: the file for what the data hold.

    Attributes:
        holds: how a refusal says what the output is: "has captions of", and then "another model".
        fixed: what must be the same for a job to go on, beside the model, the data and the size.
        size: the field of the manifest that says how many samples a part is of.

    Raises:
        ValueError: the output is of another job.
    """

    holds: str
    fixed: tuple[str, ...] = ()
    size = "part_size"

    def __init__(
        self, path: Path, manifest: Mapping[str, Any], *, manifest_path: Path, data_table: Path
    ) -> None:
        self.path, self.manifest_path, self.data_table = path, manifest_path, data_table
        self.manifest: dict[str, Any] = json.loads(json.dumps(manifest))  # as it is read back
        self._size = self.manifest[self.size]
        there = _read_manifest(manifest_path) if manifest_path.is_file() else self.manifest
        for key in (*_FIXED, self.size, *self.fixed):
            if not same_data(there.get(key), self.manifest.get(key)):
                raise ValueError(
                    f"{path} {self.holds} another {key}, {_brief(there.get(key))}, and this job "
                    f"has {_brief(self.manifest.get(key))}; give another --out, or what it was to "
                    "go on"
                )

    def __len__(self) -> int:
        return -(-self.manifest["samples"] // self._size)

    def samples(self, part: int) -> tuple[int, int]:
        """The first sample of a part, and the one behind its last."""
        return part * self._size, min((part + 1) * self._size, self.manifest["samples"])

    def claim(self) -> None:
        """Makes the output this job's; the other processes of a job leave that to the first."""
        if not self.manifest_path.is_file():
            write_json(self.manifest_path, self.manifest)

    @abc.abstractmethod
    def is_done(self, part: int) -> bool:
        """Whether a part is whole."""

    def finish(self) -> None:
        """Ends the job, after all processes have written their parts; for the first one.

        Raises:
            ValueError: a part is not whole.
        """
        lacking = sum(not self.is_done(part) for part in range(len(self)))
        if lacking:
            raise ValueError(
                f"{self.manifest_path.parent} must be a folder that all processes share, this one "
                f"does not see {lacking} of {len(self)} parts; give one on a shared disk"
            )


class LineParts(Parts):
    """Parts of JSON lines, which become one file.

    Args:
        path, manifest, **binding: see `Parts`.
        parts: the folder of the parts, which is gone at the end.
        joined: the file.
    """

    def __init__(
        self, path: Path, manifest: Mapping[str, Any], *, parts: Path, joined: Path, **binding: Any
    ) -> None:
        super().__init__(path, manifest, **binding)
        self.parts, self.joined = parts, joined

    def claim(self) -> None:
        """As of all parts; and makes the folder of the parts."""
        super().claim()
        self.parts.mkdir(exist_ok=True)

    def part(self, part: int) -> Path:
        """The file of a part."""
        return self.parts / f"{part:05d}.jsonl"

    def finish(self) -> None:
        """Joins the parts; a reader sees the file whole or not at all.

        Raises:
            ValueError: a part is not whole.
        """
        if not self.joined.is_file():
            super().finish()
            write_whole(self.joined, self._join)
        shutil.rmtree(self.parts, ignore_errors=True)

    def rows(self) -> Iterator[dict[str, Any]]:
        """The lines of the finished file."""
        return read_lines(self.joined)

    def _join(self, target: Path) -> None:
        with target.open("wb") as file:
            for part in range(len(self)):
                with self.part(part).open("rb") as lines:
                    shutil.copyfileobj(lines, file)


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The values of a file of JSON lines."""
    with path.open(encoding="utf-8", newline="\n") as file:
        yield from map(json.loads, file)


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
