"""A file of captions, written line by line so that a stopped job goes on where it was.

  captions.jsonl                  at the end: a line a picture, in the data's order
  captions.jsonl.manifest.json    the model, the data and the settings
  captions.jsonl.data.json        what the data hold, and what in them is no sample
  captions.jsonl.parts/00000.jsonl ...   until then: stretches of the data, each growing by lines

A part belongs to one process at a time; the first process joins them when all are whole.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from vlp.files import named, remove_partials
from vlp.jobs.outputs import CAPTIONS, check_output
from vlp.jobs.parts import LineParts

FORMAT = 1


class CaptionFile(LineParts):
    """The captions of one job; nothing is written before `claim`.

    Args:
        path: of the file: new, or of the same job.
        manifest: see `Parts`; must hold `samples` and `part_size`.

    Raises:
        ValueError: the file is of something else.
    """

    holds = "has captions of"
    fixed = ("method", "settings", "seed")

    def __init__(self, path: str | Path, manifest: Mapping[str, Any]) -> None:
        path = Path(path)
        check_output("--out", path, CAPTIONS)
        super().__init__(
            path,
            {"format": FORMAT, **manifest},
            manifest_path=path.with_name(f"{path.name}.manifest.json"),
            data_table=path.with_name(f"{path.name}.data.json"),
            parts=path.with_name(f"{path.name}.parts"),
            joined=path,
        )
        self._check_whole()

    def claim(self) -> None:
        """Makes the file this job's; the other processes of a job leave that to the first."""
        super().claim()
        remove_partials(self.path.parent, of=f"{self.path.name}.")

    def lines(self, part: int) -> int:
        """The whole lines that a part has."""
        first, stop = self.samples(part)
        if self.path.is_file():
            return stop - first
        path = self.part(part)
        count = _count_lines(path) if path.is_file() else 0
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
        path = self.part(part)
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
        path = self.part(part)
        with named(path), path.open("ab") as file:
            file.write("".join(lines).encode())

    def _check_whole(self) -> None:
        """Raises ValueError where the finished file is not as it was written."""
        if self.path.is_file() and _count_lines(self.path) != self.manifest["samples"]:
            raise ValueError(
                f"{self.path} is finished and must have {self.manifest['samples']} lines, a line a "
                f"picture, got {_count_lines(self.path)}; give another --out, or remove it to "
                "caption all anew"
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
