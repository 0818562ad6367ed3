"""Small data sets made on the spot."""

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image


def pixels(seed: int, *, height: int = 9, width: int = 12, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


def encoded(array_or_image: np.ndarray | Image.Image, kind: str = "PNG", **options) -> bytes:
    image = array_or_image
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image.squeeze())
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def write_tar(path: Path, members: Iterable[tuple[str, bytes]], *, format: int = 0) -> Path:
    with tarfile.open(path, "w", format=format or tarfile.PAX_FORMAT) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def pair(key: str, seed: int) -> list[tuple[str, bytes]]:
    """A good sample: its colours and captions follow from the seed."""
    captions = f"caption {seed}\nother words {seed}\nthird line {seed}"
    return [
        (f"{key}.png", encoded(pixels(seed))),
        (f"{key}.captions", captions.encode()),
        (f"{key}.json", b'{"seed": %d}' % seed),
    ]


def pairs(count: int) -> list[tuple[str, bytes]]:
    return [member for i in range(count) for member in pair(f"{i:04d}", i)]


class Noisy:
    """A transform that shows the image, its place and the generator: 4 x 4 pixels plus noise."""

    size = 4

    def __call__(self, rgba: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return rgba[:4, :4, :3] + rng.integers(0, 256, (4, 4, 3), np.uint8)
