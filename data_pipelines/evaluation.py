"""A source in order, once: its images in batches, its captions as one list.

Images and captions are encoded separately, each once, and meet by sample id:

    images = eval_images(source, preprocess, batch_size=64)
    texts, image_ids, rejects = eval_captions(source, captions="all")

A bad image has weight 0 in its batch; its captions should then be left out by the caller, who sees
the weights. A bad caption is not in the list, and counted.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from data_pipelines.assemble import Batch, empty_batch
from data_pipelines.decode import decode
from data_pipelines.faults import Reject
from data_pipelines.prefetch import prefetch
from data_pipelines.sources.base import Source
from data_pipelines.text import clean_caption
from data_pipelines.threads import THREADS


class Captions(NamedTuple):
    """The usable captions of a source, in order.

    Attributes:
      texts: cleaned captions.
      ids: int64 `[number of texts]`, the sample each belongs to.
      rejects: what was left out, by reason.
    """

    texts: list[str]
    ids: np.ndarray
    rejects: Counter[str]


def eval_images(
    source: Source,
    preprocess: Callable[..., Any],
    *,
    batch_size: int,
    num_threads: int = THREADS,
) -> Iterator[Batch]:
    """Every image once, in the source's order.

    Args:
      source: the samples; their captions are not read.
      preprocess: the bytes of a file and `max_pixels=` to uint8 `[1, size, size, 3]`, as
        `ImagePreprocess`, or to a named tuple of arrays `[1, ...]`, as `NaflexPreprocess`.
      batch_size: rows of every batch, the last one filled with rows of weight 0 and id -1.
      num_threads: batches that are loaded at the same time; 0 loads when asked.

    Returns:
      An iterator over batches of "image" uint8 `[batch_size, size, size, 3]` (or such a tuple),
      "weight" float32 (0 = bad or padding), "id" int64 (the sample's index) and "reject" uint8 (0,
      or 1 + index into `faults.REASONS`).

    Raises:
      ValueError: `batch_size` is below 1.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    return prefetch(_ImageBatches(source, preprocess, batch_size), num_threads=num_threads)


def check_which(captions: str) -> None:
    """Raises ValueError where it is neither "first" nor "all"."""
    if captions not in ("first", "all"):
        raise ValueError(f'captions must be "first" or "all", got {captions!r}')


def eval_captions(source: Source, *, captions: str = "first") -> Captions:
    """The usable captions of a source, in order.

    Args:
      source: the samples; their images are not read.
      captions: "first" of each sample, or "all".

    Raises:
      ValueError: `captions` is neither "first" nor "all".
    """
    check_which(captions)
    texts: list[str] = []
    ids: list[int] = []
    rejects: Counter[str] = Counter()
    for index in range(len(source)):
        try:
            raw = source.captions(index)
        except Reject as fault:
            rejects[fault.reason] += 1
            continue
        for caption in raw[:1] if captions == "first" else raw:
            try:
                texts.append(clean_caption(caption, max_bytes=source.limits.caption_bytes))
            except Reject as fault:
                rejects[fault.reason] += 1
                continue
            ids.append(index)
    return Captions(texts, np.asarray(ids, np.int64), rejects)


def sample_pixels(source: Source, index: int) -> np.ndarray:
    """The image of a sample, uint8 RGBA `[h, w, 4]`. Raises Reject."""
    return decode(source.image(index), max_pixels=source.limits.pixels)


class _ImageBatches:
    """The images of a source in batches, by number."""

    def __init__(self, source: Source, preprocess: Callable[..., Any], rows: int) -> None:
        self._source = source
        self._preprocess = preprocess
        self._rows = rows
        black = np.zeros((32, 32, 4), np.uint8)
        black[..., 3] = 255
        # Rows of weight 0 show a black picture, which every model can take.
        self._blank = preprocess(black)

    def __len__(self) -> int:
        return -(-len(self._source) // self._rows)

    def __getitem__(self, number: int) -> Batch:
        first = number * self._rows
        batch, limit = empty_batch(self._rows), self._source.limits.pixels
        images = [np.repeat(field, self._rows, axis=0) for field in _fields(self._blank)]
        for row, index in enumerate(range(first, min(first + self._rows, len(self._source)))):
            batch["id"][row] = index
            try:
                # The file itself: an array of one row of pixels may be read in two ways.
                pixels = self._preprocess(self._source.image(index), max_pixels=limit)
            except Reject as fault:
                batch["reject"][row] = fault.code
                continue
            batch["weight"][row] = 1
            for field, value in zip(images, _fields(pixels), strict=True):
                field[row] = value[0]
        batch["image"] = _like(self._blank, images)
        return batch


def _fields(pixels: Any) -> tuple[np.ndarray, ...]:
    """The arrays of images: one, or those of a named tuple."""
    return pixels if isinstance(pixels, tuple) else (pixels,)


def _like(pixels: Any, fields: list[np.ndarray]) -> Any:
    """The opposite of `_fields`."""
    return type(pixels)(*fields) if isinstance(pixels, tuple) else fields[0]
