"""The class of each pixel of pictures: PNGs, which are read when they are asked for."""

import dataclasses
import io
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt8
from PIL import PngImagePlugin

from data_pipelines.decode import check_size, reasons
from data_pipelines.faults import Reject
from data_pipelines.limits import Limits
from data_pipelines.sources.files import read_file
from data_pipelines.sources.members import IMAGE

_HEAD = struct.Struct(">8x4x4sIIBB")  # signature, length of the first chunk, and the chunk
_GREY, _PALETTE = 0, 3
_KINDS = {_GREY: "grey", 2: "RGB", _PALETTE: "palette", 4: "grey and alpha", 6: "RGBA"}


class Size(NamedTuple):
    """Of a picture, in pixels."""

    height: int
    width: int


@dataclasses.dataclass(frozen=True)
class Masks:
    """A mask a picture, in the order of the pictures.

    Attributes:
        root: the folder in which they lie.
        files: paths below it.
        fingerprint: of all of them.
        limits: how large they may be.
    """

    root: Path
    files: Sequence[str]
    fingerprint: str
    limits: Limits

    def __len__(self) -> int:
        return len(self.files)

    def read(self, index: int) -> UInt8[np.ndarray, "h w"]:
        """The class of each pixel; 255 where it does not count.

        Raises:
            ValueError: the file cannot be read, or is no mask; see `mask_size`.
        """
        path = self.root / self.files[index]
        try:
            data = read_file(path, IMAGE, limit=self.limits.image_bytes)
            size = mask_size(path, data)
            check_size(size.width, size.height, self.limits.pixels)
            with reasons():
                return np.array(PngImagePlugin.PngImageFile(io.BytesIO(data)))
        except Reject as error:
            raise ValueError(
                f"{path} must be a PNG that can be read: {error}; fetch the masks again"
            ) from error

    def at(self, rows: Int[np.ndarray, " n"]) -> "Masks":
        """Those of some of the pictures."""
        return dataclasses.replace(self, files=[self.files[row] for row in rows.tolist()])


def mask_size(path: Path, data: bytes) -> Size:
    """The size of a mask by its header.

    Args:
        path: of the file, for messages.
        data: its first bytes, or all.

    Raises:
        ValueError: it is no PNG, or one whose pixels are no classes: of 16 bits, in colours, or of
            grey in fewer than 8 bits, which readers spread over 0..255.
    """
    if not data.startswith(b"\x89PNG\r\n\x1a\n") or len(data) < _HEAD.size:
        raise ValueError(
            f"a mask must be a PNG, {path} begins with {data[:8]!r}; write the masks as PNG"
        )
    _, width, height, depth, kind = _HEAD.unpack_from(data)
    if not (kind == _GREY and depth == 8 or kind == _PALETTE):
        raise ValueError(
            f"a mask must be grey of 8 bits or have a palette, so that its pixels are classes, "
            f"{path} is {_KINDS.get(kind, kind)} of {depth} bits; write the number of the class, "
            "0..254, or 255 for pixels that do not count"
        )
    return Size(height, width)
