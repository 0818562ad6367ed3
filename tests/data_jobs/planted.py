"""Data with planted noise, of which is known what is wrong."""

import io
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from data_pipelines.tar_write import sample_bytes, write_tar

Change = Callable[[Image.Image], bytes]


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def scaled(factor: float) -> Change:
    def change(image: Image.Image) -> bytes:
        size = tuple(max(1, round(side * factor)) for side in image.size)
        return encoded(image.resize(size, Image.Resampling.BICUBIC))

    return change


def compressed(quality: int) -> Change:
    return lambda image: encoded(image, "JPEG", quality=quality)


# How a picture comes again on the web.
NEAR: Mapping[str, Change] = {
    "compressed": compressed(75),
    "compressed much": compressed(40),
    "half the size": scaled(0.5),
    "seven tenths": scaled(0.7),
    "twice the size": scaled(2.0),
}


def noise(seed: int, size: int = 40) -> Image.Image:
    """A picture like no other: coloured blots."""
    small = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), np.uint8)
    return Image.fromarray(small).resize((size, size), Image.Resampling.BICUBIC)


def write_samples(path: Path, samples: Iterable[tuple[bytes, str]], **meta: Any) -> Path:
    """A tar of pictures with a caption each, by numbers as keys."""
    made = [
        sample_bytes(f"{i:06d}", image, [caption] if caption else [], meta=meta | {"number": i})
        for i, (image, caption) in enumerate(samples)
    ]
    write_tar(path, made)
    return path


def files_below(folder: Path) -> dict[str, bytes]:
    """The content of all files of a folder, by path; of facts and indexes only that they are."""
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    opaque = (".index", ".parquet")
    return {name: b"" if name.endswith(opaque) else p.read_bytes() for name, p in found.items()}


def lines(folder: Path) -> list[dict[str, Any]]:
    """All lines of a job's manifest."""
    files = sorted((folder / "manifest").glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]
