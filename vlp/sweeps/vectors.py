"""Embeddings that are kept: each model embeds each set once, whatever is asked of them later."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from vlp.files import write_json, write_whole
from vlp.parallel.together import on_first
from vlp.version import __version__


class Rows(NamedTuple):
    """Embedded pictures.

    Attributes:
      ids: which picture of the set each row is; those that cannot be read have none.
      vectors: unit-norm rows, or several a picture; of other features rows as they are.
      notes: sentences on what was left out, or read otherwise than elsewhere.
    """

    ids: Int[np.ndarray, " n"]
    vectors: Float[np.ndarray, "n *q d"]
    notes: list[str]


class VectorStore:
    """A folder of embeddings by what they are of.

        KEY.npy    float32 vectors
        KEY.json   ids and notes, and what they are of; written last

    Files are mapped, not read. While a set is embedded its vectors are in memory once, for each of
    the models that share decoding: a million pictures of 768 numbers are 3 GB a model and feature.

    Args:
        folder: made when something is put there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, of: Mapping[str, Any]) -> Rows | None:
        """What is kept; None where nothing is, or nothing whole.

        Args:
            of: JSON values that say what was embedded, by which model and how.
        """
        path = self._path(of)
        try:
            about = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
            vectors = np.load(path, mmap_mode="r", allow_pickle=False)
            ids = np.asarray(about["ids"], np.int64)
        except (OSError, ValueError, KeyError, EOFError):
            return None
        return Rows(ids, vectors, about["notes"]) if len(ids) == len(vectors) else None

    def keep(self, of: Mapping[str, Any], rows: Rows) -> None:
        """Keeps vectors under what they are of."""
        path = self._path(of)

        def save(partial: Path) -> None:
            with partial.open("wb") as file:
                np.save(file, rows.vectors, allow_pickle=False)

        write_whole(path, save)
        about = {"of": dict(of), "ids": rows.ids.tolist(), "notes": rows.notes}
        write_json(path.with_suffix(".json"), about)

    def together(self, keep: Callable[[], None]) -> None:
        """Has the first process keep something, which all find there from then on.

        Every process must call this at the same time.
        """
        on_first(keep)

    def _path(self, of: Mapping[str, Any]) -> Path:
        text = json.dumps([__version__, dict(of)], sort_keys=True)
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.npy"


class MemoryStore(VectorStore):
    """Embeddings that are kept in memory, by each process for itself: of weights that train on."""

    def __init__(self) -> None:
        self._rows: dict[str, Rows] = {}

    def find(self, of: Mapping[str, Any]) -> Rows | None:
        """What is kept; None where nothing is."""
        return self._rows.get(json.dumps(dict(of), sort_keys=True))

    def keep(self, of: Mapping[str, Any], rows: Rows) -> None:
        """Keeps vectors under what they are of."""
        self._rows[json.dumps(dict(of), sort_keys=True)] = rows

    def together(self, keep: Callable[[], None]) -> None:
        """Keeps something on every process."""
        keep()
