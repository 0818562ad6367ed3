"""The compact form of the emoji: one file of metadata and one of pixels a vendor.

`emoji.json.xz` holds `{"format", "size", "levels": {vendor: levels}, "emoji": [...]}`. A vendor's
`VENDOR.xz` holds the pixels of all emoji in that order, uint8 RGBA with straight alpha. Colours
take `levels` values (255: without loss), green is subtracted from red and blue modulo 256, and
pixels that nobody sees are zero: all of that only makes LZMA's work easier. Alpha is exact.
"""

import hashlib
import json
import lzma
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent
FORMAT = 1
SIZE = 64
# Twemoji judges models, so it is exact. Noto only trains: 6 bits a colour save 1.9 MB.
LEVELS = {"noto": 63, "twemoji": 255}
FIELDS = (
    "unified",
    "base",
    "name",
    "caption",
    "short_names",
    "category",
    "subcategory",
    "skin_tones",
    "added_in",
    "common_name",
    "keywords",
)
_METADATA = "emoji.json.xz"
# Four bytes a pixel: literals and matches know their place in the pixel.
_FILTERS = [
    {
        "id": lzma.FILTER_LZMA2,
        "preset": 9 | lzma.PRESET_EXTREME,
        "dict_size": 64 << 20,
        "lc": 2,
        "lp": 2,
        "pb": 2,
    }
]


def paths(folder: Path = FOLDER) -> list[Path]:
    """The files of the compact form."""
    return [folder / _METADATA, *(folder / f"{vendor}.xz" for vendor in LEVELS)]


def fingerprint(folder: Path = FOLDER) -> str:
    """Hash of the compact form, in hexadecimal digits.

    Raises:
      ValueError: a file is missing.
    """
    digest = hashlib.sha256()
    for path in paths(folder):
        digest.update(hashlib.sha256(_bytes(path)).digest())
    return digest.hexdigest()


def write(
    entries: Sequence[Mapping[str, Any]], pixels: Mapping[str, np.ndarray], *, folder: Path = FOLDER
) -> None:
    """Writes the compact form; the same input gives the same bytes.

    Args:
      entries: what is known of each emoji, `FIELDS`.
      pixels: for each vendor uint8 RGBA `[n, 64, 64, 4]`, in the order of `entries`.
      folder: where to.

    Raises:
      ValueError: vendors or shapes do not fit.
    """
    shape = (len(entries), SIZE, SIZE, 4)
    for vendor in LEVELS:
        if vendor not in pixels or pixels[vendor].shape != shape:
            raise ValueError(
                f"each of {', '.join(LEVELS)} needs pixels {shape}, got "
                f"{ {name: value.shape for name, value in pixels.items()} }"
            )
    head = {"format": FORMAT, "size": SIZE, "levels": LEVELS}
    rows = [{field: entry[field] for field in FIELDS} for entry in entries]
    text = json.dumps({**head, "emoji": rows}, ensure_ascii=False, separators=(",", ":"))
    (folder / _METADATA).write_bytes(_packed(text.encode()))
    # In threads, for it takes half a minute and LZMA lets others run.
    with ThreadPoolExecutor(len(LEVELS)) as pool:
        coded = [_coded(pixels[vendor], levels).tobytes() for vendor, levels in LEVELS.items()]
        for vendor, packed in zip(LEVELS, pool.map(_packed, coded), strict=True):
            (folder / f"{vendor}.xz").write_bytes(packed)


def read(*, folder: Path = FOLDER) -> tuple[list[dict[str, Any]], Iterator[tuple[str, np.ndarray]]]:
    """What `write` wrote.

    Returns:
      The entries, and vendors with their pixels, uint8 RGBA `[n, 64, 64, 4]`, read one by one.

    Raises:
      ValueError: a file is missing, damaged, or of another format.
    """
    head = json.loads(_unpacked(folder / _METADATA))
    if head["format"] != FORMAT or head["size"] != SIZE:
        raise ValueError(
            f"the embedded emoji must have format {FORMAT} and {SIZE} pixels, {folder} has "
            f"{head['format']} and {head['size']}; install the package again"
        )
    shape = (len(head["emoji"]), SIZE, SIZE, 4)

    def vendors() -> Iterator[tuple[str, np.ndarray]]:
        for vendor, levels in head["levels"].items():
            coded = np.frombuffer(_unpacked(folder / f"{vendor}.xz"), np.uint8)
            yield vendor, _decoded(coded.reshape(shape), levels)

    return head["emoji"], vendors()


def _coded(rgba: np.ndarray, levels: int) -> np.ndarray:
    rgba = np.where(rgba[..., 3:] > 0, rgba, 0).astype(np.uint8)
    if levels < 255:
        rgba[..., :3] = (rgba[..., :3].astype(np.uint16) * levels + 127) // 255
    rgba[..., 0:3:2] -= rgba[..., 1:2]
    return rgba


def _decoded(coded: np.ndarray, levels: int) -> np.ndarray:
    rgba = coded.copy()
    rgba[..., 0:3:2] += rgba[..., 1:2]
    if levels < 255:
        values = (np.arange(256, dtype=np.uint16) * 255 + levels // 2) // levels
        rgba[..., :3] = np.minimum(values, 255).astype(np.uint8)[rgba[..., :3]]
    return rgba


def _packed(data: bytes) -> bytes:
    return lzma.compress(data, format=lzma.FORMAT_XZ, check=lzma.CHECK_SHA256, filters=_FILTERS)


def _unpacked(path: Path) -> bytes:
    try:
        return lzma.decompress(_bytes(path), format=lzma.FORMAT_XZ)
    except lzma.LZMAError as error:
        raise ValueError(
            f"the embedded emoji are damaged: {path} ({error}); install the package again"
        ) from error


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ValueError(
            f"the embedded emoji need {path}, which is missing; install the package again, or "
            "build it with `python -m data_pipelines.emoji.build`"
        ) from error
