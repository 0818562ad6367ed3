"""What a sweep has done so far: a line of JSON for each model, set and task."""

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlp.files import named

_log = logging.getLogger("vlp")
FORMAT = 1


class Log:
    """A file of JSON lines that only grows. A line that is not whole is left out, and is taken off
    before the next one is written: only by the process that holds the lock of the folder.

    Args:
        path: of the file; made with its first line.

    Attributes:
        rows: those of earlier, and of this sweep, in their order; of each key the last alone.

    Raises:
        ValueError: the file is no such log.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[str, dict[str, Any]] = {}
        self._torn = 0  # bytes of a line that is not whole
        if path.is_file():
            self._read()

    def done(self, key: str) -> bool:
        """Whether there is a row that did not fail."""
        return key in self.rows and not self.rows[key].get("failed")

    def append(self, row: Mapping[str, Any]) -> None:
        """Writes a row, once it is safe on the disk.

        Args:
            row: JSON values with a `key`.

        Raises:
            OSError: it cannot be written; nothing of it is in the file.
        """
        line = json.dumps({"format": FORMAT, **row}, ensure_ascii=False, allow_nan=False)
        before = self.path.stat().st_size - self._torn if self.path.exists() else 0
        if self._torn:
            os.truncate(self.path, before)
            self._torn = 0
        try:
            with named(self.path), self.path.open("ab") as file:
                file.write(line.encode("utf-8") + b"\n")
                file.flush()  # all of it, or an error
                os.fsync(file.fileno())
        except OSError:  # a full disk: half a line would spoil the next one
            os.truncate(self.path, before)
            raise
        self._take(json.loads(line))

    def _read(self) -> None:
        data = self.path.read_bytes()
        whole, _, torn = data.rpartition(b"\n")
        self._torn = len(torn)
        if torn:
            _log.warning(
                "%s: its last line was not whole, as of a sweep that writes it now or was killed "
                "then; that row is left out, and the same sweep makes it anew",
                self.path,
            )
        for number, line in enumerate(whole.split(b"\n") if whole else (), start=1):
            row = _row(line)
            if row is None:
                raise ValueError(
                    f"{self.path} must hold a row of a sweep in each line, line {number} is none; "
                    "give another --out"
                )
            self._take(row)

    def _take(self, row: dict[str, Any]) -> None:
        self.rows.pop(row["key"], None)  # the newest is the last
        self.rows[row["key"]] = row


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    good = isinstance(row, dict) and row.get("format") == FORMAT and isinstance(row.get("key"), str)
    return row if good else None
