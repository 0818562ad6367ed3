"""Parts of pictures as pictures: what a box holds."""

import hashlib
import io
from collections.abc import Sequence

from PIL import Image

from data_pipelines.faults import Reject
from data_pipelines.pillow_rgb import pillow_rgb
from data_pipelines.sources.base import Source, check_index
from data_pipelines.sources.survey import Survey
from data_pipelines.sources.within import Within

Box = tuple[float, float, float, float]
"""Left, top, right and bottom in pixels, as Pillow's `crop` takes them."""


class CroppedSource(Within):
    """Boxes of a source's pictures, decoded by Pillow's conversion to RGB and written as PNG.

    Args:
      source: whole pictures.
      rows: which one each box is of.
      boxes: one for each; beyond a picture all is black.
    """

    def __init__(self, source: Source, rows: Sequence[int], boxes: Sequence[Box]) -> None:
        self.source, self._rows, self._boxes = source, list(rows), list(boxes)
        self.name, self.limits = source.name, source.limits

    @property
    def fingerprint(self) -> str:
        """That of the source, with the boxes."""
        said = hashlib.sha256(repr((self._rows, self._boxes)).encode()).hexdigest()
        return f"{self.source.fingerprint}[boxes {said[:32]}]"

    def __len__(self) -> int:
        return len(self._rows)

    def survey(self) -> tuple[Survey, ...]:
        """How many boxes."""
        return (Survey(self.name, len(self)),)

    def below(self, index: int) -> tuple[Source, int]:
        """The source, and the picture's index there."""
        return self.source, self._rows[check_index(index, len(self))]

    def key(self, index: int) -> str:
        """The picture's key and the box."""
        return f"{super().key(index)}[{','.join(f'{edge:g}' for edge in self._boxes[index])}]"

    def image(self, index: int) -> bytes:
        """The box as a PNG."""
        whole = pillow_rgb(super().image(index), max_pixels=self.limits.pixels).pixels
        left, top, right, bottom = self._boxes[index]
        if right <= left or bottom <= top or (right - left) * (bottom - top) > self.limits.pixels:
            raise Reject("image too large", f"a box of {self._boxes[index]} holds no picture")
        file = io.BytesIO()
        Image.fromarray(whole).crop((left, top, right, bottom)).save(file, "PNG", compress_level=1)  # type: ignore[arg-type]
        return file.getvalue()
