"""A folder of filtered samples, written part by part so that a stopped job goes on where it was."""

import itertools
import json
import logging
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from data_pipelines.tar_write import write_tar
from vlp.files import remove_partials, write_text, write_whole
from vlp.jobs.outputs import check_folder
from vlp.jobs.parts import LineParts, read_lines

SETTINGS = "filter.json"
SOURCES = ("web", "synthetic")
_log = logging.getLogger("vlp")


class FilterFolder(LineParts):
    """The results of one job; nothing is written before `claim`.

    Args:
        path: of the folder: new, empty, or of the same job.
        manifest: see `Parts`; must hold `samples` and `part_size`.

    Raises:
        ValueError: the folder is of something else.
    """

    holds = "was filtered with"
    fixed = ("captions", "threshold")

    def __init__(self, path: str | Path, manifest: Mapping[str, Any]) -> None:
        path = Path(path)
        check_folder("--out", path, manifest=SETTINGS, ours="of an earlier vlp filter")
        super().__init__(
            path,
            manifest,
            manifest_path=path / SETTINGS,
            data_table=path / "data.json",
            parts=path / "parts",
            joined=path / "manifest.jsonl",
        )

    def claim(self) -> None:
        """Makes the folder this job's; the other processes of a job leave that to the first.

        A part whose tar is gone is not done.

        Raises:
            ValueError: a tar of a finished job is gone.
        """
        super().claim()
        for folder in (self.path, self.parts):
            remove_partials(folder)
        for part in self._without_tar():
            if self.joined.is_file():
                raise ValueError(
                    f"{self.path} is finished and must have {part:05d}.tar, of which "
                    f"{self.joined.name} says that captions were kept; put it back, or give "
                    "another --out"
                )
            _log.warning("%s: %05d.tar is gone, its part is made anew", self.path, part)
            self.part(part).unlink()

    def is_done(self, part: int) -> bool:
        """Whether a part is there: its lines are written last."""
        return self.joined.is_file() or self.part(part).is_file()

    def put(self, part: int, lines: Iterable[Mapping[str, Any]], samples: Iterable[bytes]) -> None:
        """Writes a part: its tar, unless nothing was kept, then its lines."""
        kept = list(samples)
        if kept:
            write_whole(self.path / f"{part:05d}.tar", lambda path: write_tar(path, kept))
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        write_text(self.part(part), text)

    def scores(self) -> tuple[dict[str, tuple[int, np.ndarray]], Counter[str], Counter[str]]:
        """Captions kept and all scores, by source; by reason the samples without any, and those
        that were kept without their sound or their fields.
        """
        kept, found = Counter[str](), {name: array("d") for name in SOURCES}
        faults, lost = Counter[str](), Counter[str]()
        for line in self.rows():
            if "error" in line:
                faults[line["error"]] += 1
                continue
            lost.update(line.get("left_out", ()))
            kept[line["source"]] += line["kept"]
            found[line["source"]].append(line["score"])
        return {name: (kept[name], np.asarray(found[name])) for name in SOURCES}, faults, lost

    def _without_tar(self) -> list[int]:
        """The parts that kept captions and whose tar is not there."""
        finished = self.joined.is_file()
        files = [self.joined] if finished else sorted(self.parts.glob("[0-9]*.jsonl"))
        rows = itertools.chain.from_iterable(map(read_lines, files))
        kept = {row["index"] // self.manifest["part_size"] for row in rows if row.get("kept")}
        return sorted(part for part in kept if not (self.path / f"{part:05d}.tar").is_file())
