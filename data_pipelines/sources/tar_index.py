"""Where the samples of many tars lie, as one mapped file a folder: `tars.index`.

A sample takes 2.1 bytes: the length of its stretch (see `tar_scan`), and its place once for every
64. So a billion samples are 2 GB that all processes of a machine share, and nothing is read at
opening. The keys are in the tars.
"""

import json
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from data_pipelines.sources import columns
from data_pipelines.sources.survey import Stray
from data_pipelines.sources.tar_scan import GROUP, ODD, Tar

NAME = "tars.index"
_TAR = np.dtype(
    [
        ("samples", "<i8"),
        ("bases", "<i8"),
        ("odd", "<i8"),
        ("name", "<i8"),
        ("tag", "<i8"),
        ("notes", "<i8"),
        ("size", "<i8"),
        ("witness", "<u4"),
        ("without", "<i8", (3,)),
        ("fingerprint", "S129"),
    ]
)
_COUNTED = ("samples", "bases", "odd", "name", "tag", "notes")


class TarIndex:
    """The tars of an index by row. Pickles by its file, where it is in one.

    Args:
      arrays: see `_columns`; of a file, they are mapped.
      path: of the file; None for an index in memory.

    Raises:
      ValueError: the arrays do not fit each other.
    """

    def __init__(self, arrays: dict[str, np.ndarray], path: Path | None = None) -> None:
        self.path = path
        self._arrays = arrays
        self._stamp = None if path is None else stamp(path)
        self._tars = tars = arrays["tars"]
        self._ends = {name: np.cumsum(tars[name]) for name in _COUNTED}
        if (tars["bases"] != -(-tars["samples"] // GROUP)).any():
            raise ValueError("groups are not as many as samples say")
        for name in _COUNTED:
            count = {"samples": "blocks"}.get(name, name)
            if (tars[name] < 0).any() or len(arrays[count]) != tars[name].sum():
                raise ValueError(f"{count} are not as many as its tars say")

    @classmethod
    def of(cls, tars: Sequence[Tar]) -> "TarIndex":
        """An index in memory."""
        pieces = _columns(tars)
        return cls({name: np.concatenate(parts) for name, parts in pieces.items()})

    @classmethod
    def load(cls, path: Path) -> "TarIndex":
        """The index in a file.

        Raises:
          ValueError: it is damaged, or of another version.
        """
        try:
            return cls(columns.load(path), path)
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise ValueError(
                f"an index of tars must be whole, {path} is not ({error}); remove it and run "
                "`vlp data index` on its tars"
            ) from error

    def __len__(self) -> int:
        return len(self._tars)

    @property
    def samples(self) -> np.ndarray:
        """How many each tar has."""
        return self._tars["samples"]

    @cached_property
    def rows(self) -> dict[str, int]:
        """The row of each tar by the name of its file."""
        return {self.text("name", row): row for row in range(len(self))}

    def places(self, row: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """`blocks`, `bases` and `odd` of a tar, see `Tar`."""
        return self._part("samples", row), self._part("bases", row), self._part("odd", row)

    def text(self, column: str, row: int) -> str:
        """The name, the tag or the notes of a tar."""
        return self._part(column, row).tobytes().decode("utf-8", "surrogateescape")

    def fact(self, column: str, row: int) -> Any:
        """The size, the witness, the fingerprint of a tar, or what its samples are without."""
        return self._tars[column][row]

    def tar(self, row: int) -> Tar:
        """All that is known of a tar."""
        blocks, bases, odd = self.places(row)
        damage, examples, strays = self.notes(row)
        return Tar(
            name=self.text("name", row),
            size=int(self.fact("size", row)),
            tag=self.text("tag", row),
            fingerprint=self.fact("fingerprint", row).decode(),
            blocks=blocks,
            bases=bases,
            odd=odd,
            without=tuple(self.fact("without", row).tolist()),
            examples=examples,
            strays=strays,
            damage=damage,
            witness=int(self.fact("witness", row)),
        )

    def notes(self, row: int) -> tuple[str, tuple[str, str], tuple[Stray, ...]]:
        """Damage, examples and strays of a tar."""
        text = self.text("notes", row)
        if not text:
            return "", ("", ""), ()
        damage, (image, caption), strays = json.loads(text)
        return damage, (image, caption), tuple(Stray(*stray) for stray in strays)

    def _part(self, column: str, row: int) -> np.ndarray:
        stop = int(self._ends[column][row])
        array = self._arrays["blocks" if column == "samples" else column]
        return array[stop - int(self._tars[column][row]) : stop]

    def __getstate__(self) -> dict[str, Any]:
        if self.path is None:
            return {"arrays": self._arrays}
        return {"path": self.path, "stamp": self._stamp}

    def __setstate__(self, state: dict[str, Any]) -> None:
        path = state.get("path")
        if path is not None and stamp(path) != state["stamp"]:
            raise ValueError(f"{path} was written anew while it was read; start over")
        self.__init__(state["arrays"] if path is None else columns.load(path), path)  # type: ignore


def save_index(path: Path, tars: Sequence[Tar]) -> None:
    """Writes an index in one step that cannot be seen half done. Raises OSError."""
    columns.save(path, _columns(tars))


def stamp(path: Path) -> tuple[int, int, int]:
    """Another one once the file is another."""
    status = os.stat(path)
    return status.st_ino, status.st_size, status.st_mtime_ns


def _columns(tars: Sequence[Tar]) -> dict[str, list[np.ndarray]]:
    """The arrays of an index, as the pieces that the tars bring; never without a piece."""
    names, tags, notes = (
        [np.frombuffer(text.encode("utf-8", "surrogateescape"), np.uint8) for text in texts]
        for texts in zip(*((tar.name, tar.tag, tar.notes) for tar in tars), strict=True)
    )
    rows = [
        (
            len(tar.blocks), len(tar.bases), len(tar.odd), len(name), len(tag), len(note),
            tar.size, tar.witness, tar.without, tar.fingerprint.encode(),
        )
        for tar, name, tag, note in zip(tars, names, tags, notes, strict=True)
    ]  # fmt: skip
    return {
        "tars": [np.asarray(rows, _TAR)],
        "blocks": [tar.blocks for tar in tars],
        "bases": [tar.bases for tar in tars],
        "odd": [tar.odd.astype(ODD, copy=False) for tar in tars],
        "name": names,
        "tag": tags,
        "notes": notes,
    }
