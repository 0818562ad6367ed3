"""Which samples were rejected and why, a line each, in a file of each process."""

import json
import logging
from pathlib import Path

from data_pipelines.files import write_whole

_LOG = logging.getLogger(__name__)
MOST_LINES = 100_000


class Ledger:
    """The rejects of one process, as lines of JSON: key, file, reason, epoch.

    The file holds what a run has seen up to where it stands: a run that goes on from a checkpoint
    meets what it saw after it again, so these lines are cut. It begins with the first reject.

    Args:
      path: of the file.
      after: samples that all processes are past where this start begins.
      most: lines; further rejects are only counted, and a line says so once.
    """

    def __init__(self, path: Path, *, after: int = 0, most: int = MOST_LINES) -> None:
        self._path, self._most = path, most
        self._lines = cut(path, after=after)

    def add(self, *, key: str, file: str, reason: str, epoch: int, after: int) -> None:
        """Writes a reject down.

        Args:
          key, file: of the sample.
          reason: one of `REASONS`.
          epoch: of the stream, or of the sample's part of it.
          after: samples that all processes were past before the batch that it is in.
        """
        if self._lines > self._most:
            return
        line = dict(key=key, file=file, reason=reason, epoch=epoch, after=after)
        if self._lines == self._most:
            line = dict(reason="full", most=self._most, after=after)
            _LOG.warning(
                "%s is full with %d rejects; more are only counted", self._path, self._most
            )
        with self._path.open("a") as out:
            out.write(json.dumps(line) + "\n")
        self._lines += 1


def cut(path: Path, *, after: int) -> int:
    """Leaves a ledger's lines of batches before so many samples; says how many they are.

    What is no line, as the last one of a run that was killed while it wrote, goes as well.
    """
    if not path.is_file():
        return 0
    lines = path.read_text().splitlines(keepends=True)
    kept = [line for line in lines if line.endswith("\n") and json.loads(line)["after"] < after]
    if not kept:
        path.unlink()
    elif len(kept) < len(lines):
        write_whole(path, lambda partial: partial.write_text("".join(kept)))
    return len(kept)
