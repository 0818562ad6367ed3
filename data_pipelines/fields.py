"""The fields of a batch: how the host makes the row of a sample, and what a row without one holds.

A row is a function of (seed, epoch, index) alone, and so are the numbers that a field draws.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from data_pipelines.audio import Spectrogram
from data_pipelines.checks import check_whole
from data_pipelines.decode import decode
from data_pipelines.faults import Reject
from data_pipelines.sound import decode_sound
from data_pipelines.sound_augment import SoundAugment
from data_pipelines.sources.base import Source
from data_pipelines.sources.drawn import Drawn
from data_pipelines.text import Tokenizer, clean_caption

PixelTransform = Callable[[np.ndarray, np.random.Generator], np.ndarray]

# First words of the seeds: without them the trailing zeros of one kind could equal the other. The
# order of the samples has 1.
_SAMPLE, _LABEL, _SOUND = 2, 3, 4
SEVERAL_CAPTIONS = 5
# Always drawn first, so that the image does not depend on the number of captions.
_CAPTION_DRAWS = 2


@dataclasses.dataclass(frozen=True)
class Example:
    """A sample at a place of the stream.

    Attributes:
      source: has the sample.
      index: of the sample there.
      epoch: of the stream, or of the sample's part of it.
      seed: of the stream.
    """

    source: Source
    index: int
    epoch: int
    seed: int

    def generator(self, kind: int) -> np.random.Generator:
        """Random numbers of this place; each kind has its own."""
        return np.random.default_rng([kind, self.seed, self.epoch, self.index])


@runtime_checkable
class Field(Protocol):
    """A field of a batch. Instances pickle, and are called from several threads at once.

    Attributes:
      absent: the row of a sample that lacks it. All rows are of its shape and type.
    """

    absent: np.ndarray

    def __call__(self, example: Example) -> np.ndarray:
        """The row of a sample. Raises Reject, of a "missing" kind where the sample lacks it."""
        ...


@runtime_checkable
class FileTransform(Protocol):
    """What decodes a picture itself, no more of it than it shows."""

    def of_file(self, data: bytes, rng: np.random.Generator, *, max_pixels: int) -> np.ndarray:
        """uint8 `[size, size, 3]` of the bytes of a file. Raises Reject."""
        ...


ImageTransform = FileTransform | PixelTransform


class Embedded(NamedTuple):
    """Which samples of a stream a folder of embeddings is of, and which augmentations of them.

    Attributes:
      first: index of the first of them in the stream's source.
      stop: index behind the last.
      views: augmentations of each image: those of as many epochs of the folder's own stream; 0
        where images were embedded as they are.
      seed: of that stream.
    """

    first: int
    stop: int
    views: int = 0
    seed: int = 0

    def own(self, example: Example) -> Example | None:
        """The sample at its place in the folder's own stream; None where it is not of it."""
        if not self.first <= example.index < self.stop:
            return None
        own = dataclasses.replace(example, index=example.index - self.first)
        if not self.views:
            return own
        return dataclasses.replace(own, epoch=example.epoch % self.views, seed=self.seed)


class Pictures:
    """Augmented images, uint8 `[size, size, 3]`.

    Args:
      transform: of a file; or else called with uint8 RGBA `[h, w, 4]` (read-only) and a generator,
        it returns uint8 `[size, size, 3]`.
      size: height and width in pixels.
      embedded: whose augmentations are repeated where there are stored vectors of them.
    """

    def __init__(
        self, transform: ImageTransform, *, size: int, embedded: Embedded | None = None
    ) -> None:
        self._embedded = embedded
        # Told apart once: asking for a protocol takes as long as the tokens of a caption.
        self._made: Callable[..., np.ndarray] = (
            transform.of_file
            if isinstance(transform, FileTransform)
            else functools.partial(_of_pixels, transform)
        )
        self.absent = np.zeros((size, size, 3), np.uint8)

    def __call__(self, example: Example) -> np.ndarray:
        """The image as this epoch shows it."""
        own = self._embedded.own(example) if self._embedded else None
        rng = picture_numbers(own or example)
        data = example.source.image(example.index)
        return self._made(data, rng, max_pixels=example.source.limits.pixels)


def picture_numbers(example: Example) -> np.random.Generator:
    """The random numbers of the picture at a place: those behind its caption's."""
    rng = example.generator(_SAMPLE)
    rng.random(_CAPTION_DRAWS)
    return rng


def _of_pixels(
    transform: PixelTransform, data: bytes, rng: np.random.Generator, *, max_pixels: int
) -> np.ndarray:
    return transform(decode(data, max_pixels=max_pixels), rng)


class Sounds:
    """Spectrograms, float32 `[frames, n_mels]`.

    Args:
      spectrogram: what the sounds become.
      augment: how they are changed before.
    """

    def __init__(self, spectrogram: Spectrogram, augment: SoundAugment) -> None:
        self._spectrogram, self._augment = spectrogram, augment
        self.absent = np.zeros((spectrogram.frames, spectrogram.n_mels), np.float32)

    def __call__(self, example: Example) -> np.ndarray:
        """The sound as this epoch plays it."""
        data, limits = example.source.audio(example.index), example.source.limits
        wave, rate = decode_sound(data, max_seconds=limits.audio_seconds)
        rng = example.generator(_SOUND)
        return self._augment(wave, rng, rate=rate, spectrogram=self._spectrogram)


class Texts:
    """Token ids of one caption a sample, int32 `[length]`.

    Args:
      tokenizer: captions to ids; None where nothing but the shape is asked for.
      length: ids a caption.
      pad_id: what a row without a caption holds.
      first_probability: see `draw_caption`.

    Raises:
      ValueError: a value out of its range.
    """

    def __init__(
        self,
        tokenizer: Tokenizer | None,
        *,
        length: int,
        pad_id: int,
        first_probability: float = 0.5,
    ) -> None:
        if length < 2:
            raise ValueError(f"a text must be at least 2 ids long, got {length}")
        if not 0 <= first_probability <= 1:
            raise ValueError(
                "the probability of the first caption must be between 0 and 1, got "
                f"{first_probability}"
            )
        self._tokenizer, self._first_probability = tokenizer, first_probability
        self.absent = np.full(length, pad_id, np.int32)

    def __call__(self, example: Example) -> np.ndarray:
        """The ids of the caption that this epoch draws."""
        assert self._tokenizer is not None, "made for its shape only"
        caption = draw_caption(example, first_probability=self._first_probability)
        return self._tokenizer.encode([caption], len(self.absent))[0]


class ImageVectors:
    """Stored vectors of the images, float32 `[d]`: of the augmentation that the epoch shows.

    Args:
      find: from an index and a view, see `Embedded`, to a vector, or None where there is none.
      dim: d.
      embedded: what the vectors are of.
    """

    def __init__(
        self, find: Callable[[int, int], np.ndarray | None], *, dim: int, embedded: Embedded
    ) -> None:
        self._find, self._embedded = find, embedded
        self.absent = np.zeros(dim, np.float32)

    def __call__(self, example: Example) -> np.ndarray:
        """The vector of the image."""
        own = self._embedded.own(example)
        if own is None:
            raise Reject("vector missing", "these data were not embedded")
        view = own.epoch if self._embedded.views else 0
        return _found(self._find(own.index, view), "of its image")


class Labels:
    """The numbers of a sample's labels, int32 `[most]`, ascending; -1 behind the last.

    Args:
      field: of the samples' metadata: a list of whole numbers, as `vlp data label` writes it.
      count: how many labels there are.
      most: of a sample; one with more is rejected.

    Raises:
      ValueError: there is no label, or no place for one.
    """

    def __init__(self, field: str, *, count: int, most: int) -> None:
        check_whole("config.model.num_labels", count)
        check_whole("config.data.max_labels", most)
        self._field, self._count = field, count
        self.absent = np.full(most, -1, np.int32)

    def __call__(self, example: Example) -> np.ndarray:
        """The labels of the sample."""
        found = example.source.meta(example.index).get(self._field)
        if found is None:
            raise Reject("label missing", f"no field {self._field!r}")
        if not isinstance(found, list) or not all(type(each) is int for each in found):
            raise Reject("labels invalid", f"must be a list of whole numbers, got {found!r:.80}")
        labels = sorted(set(found))
        if labels and not 0 <= labels[0] <= labels[-1] < self._count:
            raise Reject("labels invalid", f"must be of 0 to {self._count - 1}, got {labels!r:.80}")
        row = self.absent.copy()
        if len(labels) > len(row):
            raise Reject("labels invalid", f"{len(labels)} labels > max_labels {len(row)}")
        row[: len(labels)] = labels
        return row


class CaptionVectors:
    """Stored vectors of the captions, float32 `[d]`: of the very caption that the epoch draws.

    Args:
      find: from an index, see `Embedded`, and a caption to a vector, or None where there is none.
      dim: d.
      embedded: what the vectors are of.
      first_probability: see `draw_caption`.
    """

    def __init__(
        self,
        find: Callable[[int, str], np.ndarray | None],
        *,
        dim: int,
        embedded: Embedded,
        first_probability: float = 0.5,
    ) -> None:
        self._find, self._embedded = find, embedded
        self._first_probability = first_probability
        self.absent = np.zeros(dim, np.float32)

    def __call__(self, example: Example) -> np.ndarray:
        """The vector of the caption."""
        own = self._embedded.own(example)
        if own is None:
            raise Reject("vector missing", "these data were not embedded")
        caption = draw_caption(example, first_probability=self._first_probability)
        what = f"of {caption[:60]!r}; --captions=all embeds all of a sample"
        return _found(self._find(own.index, caption), what)


def _found(vector: np.ndarray | None, what: str) -> np.ndarray:
    if vector is None:
        raise Reject("vector missing", what)
    return vector


def draw_caption(example: Example, *, first_probability: float) -> str:
    """The caption that this epoch draws of a sample.

    Args:
      example: the sample.
      first_probability: how often a sample with several captions gives its first; else one of the
        others, each equally often. `Drawn` captions are drawn as they say.

    Raises:
      Reject: there is none, or it cannot be used.
    """
    captions = example.source.captions(example.index)
    if isinstance(captions, Drawn):
        raw: str | bytes = captions.draw(example.generator(_LABEL))
    else:
        raw = captions[0]
        if len(captions) > 1:
            first, other = example.generator(_SAMPLE).random(_CAPTION_DRAWS)
            if first >= first_probability:
                raw = captions[1 + int(other * (len(captions) - 1))]
    return clean_caption(raw, max_bytes=example.source.limits.caption_bytes)


def made(name: str, field: Field, example: Example) -> np.ndarray:
    """The row of a sample.

    Raises:
      Reject: the sample has none that can be used.
      ValueError: it is of another shape or type than the field's.
    """
    row, like = field(example), field.absent
    if row.shape != like.shape or row.dtype != like.dtype:
        raise ValueError(
            f"{name} must always be {like.dtype} {list(like.shape)}, got {row.dtype} "
            f"{list(row.shape)} for sample {example.index}"
        )
    return row
