"""The compact form unpacked as tars in a cache folder, once for all processes of a machine."""

import hashlib
import json
import shutil
import struct
import tempfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from data_pipelines.caches import cache_folder
from data_pipelines.emoji import compact
from data_pipelines.emoji.captions import caption, training_captions
from data_pipelines.emoji.splits import COMPOSITIONAL, TRAIN, splits
from data_pipelines.sources.tar_build import build_indexes
from data_pipelines.sources.tar_index import NAME as INDEX
from data_pipelines.tar_write import finish, member

# Counts up when the tars change though the compact form does not: captions, encoding, index.
VERSION = 9
# Which emoji of which vendor a tar holds: all, or those of one split.
TARS = {
    "noto": ("noto", None),
    "noto-train": ("noto", TRAIN),
    "noto-compositional": ("noto", COMPOSITIONAL),
    "twemoji": ("twemoji", None),
}
_TRAINING_VENDORS = ("noto",)


def materialize() -> Path:
    """The folder with `noto.tar`, `noto-train.tar`, `noto-compositional.tar` and `twemoji.tar`.

    It lies in `$VLP_CACHE`, or else in `~/.cache/vlp`, and its name holds a hash of the data. The
    first call writes it beside its place and moves it there in one step, so that no process ever
    sees a part of it; of several that write at once one wins, and all use the winner's.

    Raises:
      ValueError: the folder is incomplete, or the package's data are missing or damaged.
    """
    cache = cache_folder()
    identity = hashlib.sha256(f"{VERSION} {compact.fingerprint()}".encode()).hexdigest()
    folder = cache / f"emoji-{identity[:16]}"
    if folder.is_dir():
        return _complete(folder)
    cache.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=cache, prefix=".emoji-"))
    try:
        _write(partial)
        partial.chmod(0o755)
        try:
            partial.rename(folder)
        except OSError:
            # Another process was first; anything else is an error.
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return _complete(folder)


def _complete(folder: Path) -> Path:
    names = [*(f"{name}.tar" for name in TARS), INDEX]
    missing = [name for name in names if not (folder / name).exists()]
    if missing:
        raise ValueError(
            f"{folder} must hold all tars of the emoji, but lacks {', '.join(missing)}; remove the "
            "folder, it is made again"
        )
    return folder


def _write(folder: Path) -> None:
    entries, vendors = compact.read()
    split = splits(entries)
    for vendor, pixels in vendors:
        files = {
            (folder / f"{name}.tar").open("wb"): kind
            for name, (drawn_by, kind) in TARS.items()
            if drawn_by == vendor
        }
        for entry, kind, image in zip(entries, split, pixels, strict=True):
            sample = _sample({**entry, "vendor": vendor, "split": kind}, image)
            for file, wanted in files.items():
                if wanted in (None, kind):
                    file.write(sample)
        for file in files:
            with file:
                finish(file)
    build_indexes([folder / f"{name}.tar" for name in TARS], processes=1)


def _sample(entry: Mapping[str, Any], image: np.ndarray) -> bytes:
    """The members of one sample as they stand in a tar."""
    key = entry["unified"].lower()
    if entry["vendor"] in _TRAINING_VENDORS:
        captions = {"captions": "\n".join(training_captions(key, entry)).encode()}
    else:
        captions = {"txt": caption(entry).encode()}
    described = {"json": json.dumps(entry, ensure_ascii=False).encode()}
    members = {"png": png(image), **captions, **described}
    return b"".join(member(f"{key}.{kind}", data) for kind, data in members.items())


def png(rgba: np.ndarray) -> bytes:
    """A PNG that stores its pixels as they are: quick to write and read.

    Stored, not deflated, also because zlib's output differs between its versions, and the tars'
    fingerprints would with it.

    Args:
      rgba: uint8 `[h, w, 4]`, less than 64 KiB in all.

    References: PNG specification (ISO/IEC 15948), zlib (RFC 1950), stored blocks (RFC 1951).
    """
    height, width, _ = rgba.shape
    rows = np.zeros((height, 1 + 4 * width), np.uint8)
    rows[:, 1:] = rgba.reshape(height, -1)
    raw = rows.tobytes()
    stored = struct.pack("<BHH", 1, len(raw), len(raw) ^ 0xFFFF) + raw
    deflated = b"\x78\x01" + stored + struct.pack(">I", zlib.adler32(raw))
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", deflated)
        + _chunk(b"IEND", b"")
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
