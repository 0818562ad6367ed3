"""One batch of training samples by its number: a pure function, so any thread may compute it."""

import copy
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from data_pipelines.decode import decode
from data_pipelines.faults import Reject, shown, summary
from data_pipelines.order import MixedOrder, Mixture, Order
from data_pipelines.sources.base import Source
from data_pipelines.sources.labels import LabelCaptions
from data_pipelines.text import Tokenizer, clean_caption

Batch = dict[str, np.ndarray]
ImageTransform = Callable[[np.ndarray, np.random.Generator], np.ndarray]

# Longer than any run, and small enough for the slices that worker processes take.
_ENDLESS = 2**48
_LOOKED_AT = 256
# First words of the seeds: without them the trailing zeros of one kind could equal the other. The
# order of the samples has 1.
_SAMPLE, _LABEL = 2, 3


class TrainBatches:
    """This process's share of the global batches of a stream, by number. See `make_loader`."""

    def __init__(
        self,
        source: Source,
        *,
        image_transform: ImageTransform,
        tokenizer: Tokenizer,
        text_length: int,
        global_batch_size: int,
        seed: int,
        shuffle: bool,
        epochs: int | None,
        process_index: int,
        process_count: int,
        caption_first_probability: float,
        mixture: Mixture | None,
    ) -> None:
        self.source = source
        self.mixture = mixture
        self.seed = seed
        self.global_batch_size = global_batch_size
        self._transform = image_transform
        self._tokenizer = tokenizer
        self._text_length = text_length
        self._rows = global_batch_size // process_count
        self._share = process_index * self._rows
        self._past = 0
        self._end = _ENDLESS if epochs is None else epochs * len(source)
        self._first_probability = caption_first_probability
        self._order: Callable[[int], tuple[int, int]] = (
            Order(len(source), seed=seed, shuffle=shuffle)
            if mixture is None
            else MixedOrder(len(source), mixture=mixture, seed=seed, shuffle=shuffle)
        )
        # A bad sample is a black image of the size that the transform gives to any image.
        blank = np.full((32, 32, 4), 255, np.uint8)
        self._image_shape = image_transform(blank, np.random.default_rng(0)).shape
        if len(self._image_shape) != 3 or self._image_shape[2] != 3:
            raise ValueError(
                "image_transform must return uint8 [size, size, 3], got shape "
                f"{list(self._image_shape)}"
            )

    def after(self, samples: int) -> "TrainBatches":
        """The batches that follow once all processes together are past so many samples."""
        rest = copy.copy(self)
        rest._past = samples
        return rest

    def check(self) -> None:
        """Raises ValueError when none of some samples spread over the source can be used."""
        indices = np.unique(np.linspace(0, len(self.source) - 1, _LOOKED_AT).astype(int)).tolist()
        rejects: Counter[str] = Counter()
        for index in indices:
            try:
                self._load(0, index)
                return
            except Reject as fault:
                rejects[fault.reason] += 1
                example = f"{shown(self.source.key(index))}: {shown(str(fault))}"
        raise ValueError(
            f"{self.source.name} must hold samples that can be used, of {len(indices)} looked at "
            f"none can: {summary(rejects)} ({example}); repair the data"
        )

    def __len__(self) -> int:
        return -(-max(0, self._end - self._past) // self.global_batch_size)

    def __getitem__(self, number: int) -> Batch:
        first = self._past + number * self.global_batch_size + self._share
        places = range(first, min(first + self._rows, self._end))
        batch = empty_batch(self._rows, self._image_shape)
        texts: list[str] = []
        for row, place in enumerate(places):
            epoch, index = self._order(place)
            batch["id"][row] = index
            try:
                image, text = self._load(epoch, index)
            except Reject as fault:
                batch["reject"][row] = fault.code
                texts.append("")
                continue
            if image.shape != self._image_shape or image.dtype != np.uint8:
                raise ValueError(
                    f"image_transform must always return uint8 {list(self._image_shape)}, got "
                    f"{image.dtype} {list(image.shape)} for sample {index}"
                )
            batch["image"][row] = image
            batch["weight"][row] = 1
            texts.append(text)
        batch["text"] = self._encode(texts, batch["weight"])
        return batch

    def _load(self, epoch: int, index: int) -> tuple[np.ndarray, str]:
        rng = np.random.default_rng([_SAMPLE, self.seed, epoch, index])
        # Always two draws, so that the image does not depend on the number of captions.
        draws = rng.random(2)
        sample = self.source[index]
        if isinstance(sample.captions, LabelCaptions):
            raw: str | bytes = sample.captions.draw(
                np.random.default_rng([_LABEL, self.seed, epoch, index])
            )
        else:
            raw = self._choose(sample.captions, draws)
        limits = self.source.limits
        text = clean_caption(raw, max_bytes=limits.caption_bytes)
        return self._transform(decode(sample.image, max_pixels=limits.pixels), rng), text

    def _choose(self, captions: Sequence[str | bytes], draws: np.ndarray) -> str | bytes:
        if len(captions) == 1 or draws[0] < self._first_probability:
            return captions[0]
        return captions[1 + int(draws[1] * (len(captions) - 1))]

    def _encode(self, texts: list[str], weight: np.ndarray) -> np.ndarray:
        texts += [""] * (self._rows - len(texts))
        ids = self._tokenizer.encode(texts, self._text_length)
        ids[weight == 0] = self._tokenizer.pad_id
        return ids


def empty_batch(rows: int, image_shape: Sequence[int]) -> Batch:
    """Rows that are only padding: weight 0, id -1."""
    return {
        "image": np.zeros((rows, *image_shape), np.uint8),
        "weight": np.zeros(rows, np.float32),
        "id": np.full(rows, -1, np.int64),
        "reject": np.zeros(rows, np.uint8),
    }
