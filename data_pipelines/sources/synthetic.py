"""Pairs that are made, not read: for benchmarks of everything behind the reading."""

import hashlib
import io
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from data_pipelines.faults import Reject
from data_pipelines.limits import LIMITS, Limits
from data_pipelines.sources.base import Source, check_index
from data_pipelines.sources.survey import Survey

_SPEC = re.compile(r"(?P<samples>\d+)(@(?P<width>\d+)x(?P<height>\d+))?")
_PICTURES = 16  # of which each serves many samples: making one takes as long as decoding it
_QUALITY = 90
_CELLS = 12  # of the coarse grid from which a picture is enlarged, as smooth as photographs are
_NOISE = 6
_WORDS = (
    "red green blue old small bright wooden empty quiet round house street tree boat dog".split()
)


class SyntheticSource(Source):
    """Photograph-like JPEGs (quality 90) with captions of six to twenty words.

    Args:
      spec: N, or N@WIDTHxHEIGHT in pixels; 512x384 unless given.
      limits: how large the parts of a sample may be.

    Raises:
      ValueError: another form, no sample or no pixel.
    """

    def __init__(self, spec: str, *, limits: Limits = LIMITS) -> None:
        found = _SPEC.fullmatch(spec)
        said = found.group("samples", "width", "height") if found else ("0",)
        sizes = [int(number or usual) for number, usual in zip(said, (0, 512, 384), strict=False)]
        if min(sizes) < 1:
            raise ValueError(f"synthetic:N or synthetic:N@WIDTHxHEIGHT is the form, got {spec!r}")
        self._samples, width, height = sizes
        self.limits, self.name = limits, f"synthetic:{self._samples}@{width}x{height}"
        self._pictures = [_picture(number, width, height) for number in range(_PICTURES)]

    @property
    def fingerprint(self) -> str:
        """Of what is made."""
        return hashlib.sha256(self.name.encode()).hexdigest() + self.limits.mark

    def __len__(self) -> int:
        return self._samples

    def key(self, index: int) -> str:
        """The index."""
        return str(check_index(index, len(self)))

    def file(self, index: int) -> str:
        """The name of the source: there is no file."""
        check_index(index, len(self))
        return self.name

    def image(self, index: int) -> bytes:
        """One of sixteen pictures."""
        return self._pictures[check_index(index, len(self)) % _PICTURES]

    def audio(self, index: int) -> bytes:
        """Raises Reject: pictures and captions are made."""
        raise Reject("audio missing", "synthetic pairs have none")

    def captions(self, index: int) -> tuple[str | bytes, ...]:
        """Words that follow from the index, and the index itself."""
        rng = np.random.default_rng(check_index(index, len(self)))
        words = rng.choice(_WORDS, size=rng.integers(5, 20))
        return (f"{' '.join(words)} {index}",)

    def meta(self, index: int) -> Mapping[str, Any]:
        """Which of the pictures it is, as the class."""
        return {"cls": check_index(index, len(self)) % _PICTURES}

    def survey(self) -> tuple[Survey, ...]:
        """All of them."""
        return (Survey(self.name, len(self), without_image=0, without_caption=0),)


def _picture(seed: int, width: int, height: int) -> bytes:
    rng = np.random.default_rng(seed)
    grid = Image.fromarray(rng.integers(0, 256, (_CELLS, _CELLS, 3), np.uint8))
    smooth = np.asarray(grid.resize((width, height), Image.Resampling.BICUBIC), np.int16)
    noise = rng.integers(-_NOISE, _NOISE + 1, smooth.shape, np.int16)
    file = io.BytesIO()
    picture = Image.fromarray(np.clip(smooth + noise, 0, 255).astype(np.uint8))
    picture.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()
