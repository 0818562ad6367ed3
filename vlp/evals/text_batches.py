"""Tokenized texts in batches of like length: padding that changes nothing is not computed."""

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Int

from vlp.models.trim import MULTIPLE, needed_columns

TEXTS_ON_CPU = 32  # a device at once; more fall out of the caches
_MANY, _FINE = 2048, 2  # so many texts on a CPU earn the compiling of finer lengths


def text_rows(batch_size: int, *, parts: int) -> int:
    """Rows of every batch of texts over all devices.

    Args:
      batch_size: at most so many, or a row a device.
      parts: devices that share a batch.
    """
    most = batch_size if jax.default_backend() != "cpu" else min(batch_size, TEXTS_ON_CPU * parts)
    return most + -most % parts


def text_batches(
    text: Mapping[str, Any] | None, ids: Int[np.ndarray, "n l"], *, rows: int
) -> Iterator[tuple[Int[np.ndarray, " m"], Int[np.ndarray, "m t"]]]:
    """Batches of texts that need as many columns, without the other columns.

    How many columns a text keeps does not depend on the size of a batch, so that embeddings are the
    same bits on any number of devices.

    Args:
      text: settings of the text tower; None keeps all columns.
      ids: tokens of all texts.
      rows: of a batch, at most.

    Yields:
      Which texts they are, and their tokens.
    """
    n, length = ids.shape
    fine = jax.default_backend() == "cpu" and n >= _MANY
    step = _FINE if fine else MULTIPLE
    needed = np.full(n, length) if text is None else needed_columns(text, ids)
    columns = np.minimum(-(-np.maximum(needed, 1) // step) * step, length)
    order = np.argsort(columns, kind="stable")
    starts = np.flatnonzero(np.diff(columns[order], prepend=-1))
    for places in np.split(order, starts[1:]):
        for first in range(0, len(places), rows):
            some = places[first : first + rows]
            yield some, ids[some, : columns[places[0]]]
