"""A source in order, once: its images or sounds in batches, its captions as one list.

Images, sounds and captions are encoded separately, each once, and meet by sample id:

    images = eval_images(source, preprocess, batch_size=64)
    sounds = eval_sounds(source, spectrogram, batch_size=64)
    texts, image_ids, rejects = eval_captions(source, captions="all")

A bad image has weight 0 in its batch; its captions should then be left out by the caller, who sees
the weights. A bad caption is not in the list, and counted.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from data_pipelines.assemble import Batch, empty_batch
from data_pipelines.audio import Spectrogram
from data_pipelines.decode import decode
from data_pipelines.faults import Reject
from data_pipelines.prefetch import prefetch
from data_pipelines.sources.base import Source
from data_pipelines.text import clean_caption
from data_pipelines.threads import THREADS


@dataclasses.dataclass(frozen=True)
class Deal:
    """Which samples one process of several loads: of each so many rows in turn one stretch.

    Every process has as many batches as the others, the last ones filled up.

    Attributes:
      process: which one this is, from 0.
      processes: how many there are.
      failures: takes what went wrong, but for what is wrong with a sample; those rows are filled up
        as well. A process that stopped there would leave the others waiting for it.
    """

    process: int = 0
    processes: int = 1
    failures: list[Exception] | None = None


ALONE = Deal()


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
    deal: Deal = ALONE,
) -> Iterator[Batch]:
    """Every image once, in the source's order.

    Args:
      source: the samples; their captions are not read.
      preprocess: the bytes of a file and `max_pixels=` to uint8 `[1, size, size, 3]`, as
        `ImagePreprocess`, or to a named tuple of arrays `[1, ...]`, as `NaflexPreprocess`.
      batch_size: rows of every batch, the last one filled with rows of weight 0 and id -1.
      num_threads: batches that are loaded at the same time; 0 loads when asked.
      deal: which of them this process loads; all of them without others.

    Returns:
      An iterator over batches of "image" uint8 `[batch_size, size, size, 3]` (or such a tuple),
      "weight" float32 (0 = bad or padding), "id" int64 (the sample's index) and "reject" uint8 (0,
      or 1 + index into `faults.REASONS`).

    Raises:
      ValueError: `batch_size` is below 1.
    """
    # Rows of weight 0 show a black picture, which every model can take.
    black = np.zeros((32, 32, 4), np.uint8)
    black[..., 3] = 255

    def load(index: int) -> Any:
        # The file itself: an array of one row of pixels may be read in two ways.
        return preprocess(source.image(index), max_pixels=source.limits.pixels)

    return eval_rows(
        source,
        "image",
        load=load,
        blank=preprocess(black),
        batch_size=batch_size,
        num_threads=num_threads,
        deal=deal,
    )


def eval_sounds(
    source: Source,
    spectrogram: Spectrogram,
    *,
    batch_size: int,
    num_threads: int = THREADS,
    deal: Deal = ALONE,
) -> Iterator[Batch]:
    """Every sound once, in the source's order: as `eval_images`, of "audio" float32
    `[batch_size, frames, n_mels]`.

    Args:
      source, batch_size, num_threads, deal: as in `eval_images`.
      spectrogram: what the sounds become.
    """

    def load(index: int) -> np.ndarray:
        return spectrogram(source.audio(index), max_seconds=source.limits.audio_seconds)

    return eval_rows(
        source,
        "audio",
        load=load,
        blank=np.zeros((1, spectrogram.frames, spectrogram.n_mels), np.float32),
        batch_size=batch_size,
        num_threads=num_threads,
        deal=deal,
    )


def eval_rows(
    source: Source,
    name: str,
    *,
    load: Callable[[int], Any],
    blank: Any,
    batch_size: int,
    num_threads: int,
    deal: Deal = ALONE,
) -> Iterator[Batch]:
    """Every sample once, in the source's order, in batches as those of `eval_images`.

    Args:
      source: the samples.
      name: of what is made of them, in a batch.
      load: that, with the leading axis of one, of the sample with an index. Raises Reject.
      blank: the same for rows of weight 0.
      batch_size, num_threads, deal: as in `eval_images`.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    batches = _Batches(source, name, load, blank, batch_size, deal)
    return prefetch(batches, num_threads=num_threads)


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


@dataclasses.dataclass(frozen=True)
class _Batches:
    """One modality of a source in batches, by number; see `eval_rows`."""

    source: Source
    name: str
    load: Callable[[int], Any]
    blank: Any
    rows: int
    deal: Deal

    def __len__(self) -> int:
        return -(-len(self.source) // (self.rows * self.deal.processes))

    def __getitem__(self, number: int) -> Batch:
        first = (number * self.deal.processes + self.deal.process) * self.rows
        batch = empty_batch(self.rows)
        columns = [np.repeat(field, self.rows, axis=0) for field in _fields(self.blank)]
        for row, index in enumerate(range(first, min(first + self.rows, len(self.source)))):
            batch["id"][row] = index
            try:
                found = self.load(index)
            except Reject as fault:
                batch["reject"][row] = fault.code
                continue
            except Exception as error:
                if self.deal.failures is None:
                    raise
                self.deal.failures.append(error)
                continue
            batch["weight"][row] = 1
            for column, value in zip(columns, _fields(found), strict=True):
                column[row] = value[0]
        several = isinstance(self.blank, tuple)
        batch[self.name] = type(self.blank)(*columns) if several else columns[0]
        return batch


def _fields(pixels: Any) -> tuple[np.ndarray, ...]:
    """The arrays of images: one, or those of a named tuple."""
    return pixels if isinstance(pixels, tuple) else (pixels,)
