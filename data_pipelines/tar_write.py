"""WebDataset tars, written so that equal samples give equal bytes."""

import os
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from data_pipelines.files import json_bytes

_KINDS = {
    "png": (b"\x89PNG\r\n\x1a\n",),
    "webp": (b"RIFF",),
    "gif": (b"GIF87a", b"GIF89a"),
    "bmp": (b"BM",),
    "tif": (b"II*\0", b"MM\0*"),
}
_SOUNDS = {b"OggS": "ogg", b"fLaC": "flac", b"RIFF": "wav"}


def write_tar(path: Path, samples: Iterable[bytes]) -> None:
    """Writes samples as `sample_bytes` made them, and waits for the disk."""
    with path.open("wb") as file:
        for sample in samples:
            file.write(sample)
        finish(file)


def finish(file: BinaryIO) -> None:
    """Writes a tar's end marker and waits for the disk."""
    file.write(bytes(2 * tarfile.BLOCKSIZE))
    file.flush()
    os.fsync(file.fileno())


def sample_bytes(
    key: str,
    image: bytes,
    captions: Sequence[str],
    *,
    meta: Mapping[str, Any],
    sound: bytes | None = None,
) -> bytes:
    """The members of one sample: KEY.jpg (or another kind), KEY.captions, KEY.json.

    Args:
      key: its name, ASCII and without a dot.
      image: an encoded image file.
      captions: one a line; white space within them becomes blanks. Without any there is no
        KEY.captions.
      meta: JSON values.
      sound: an encoded sound file, which becomes KEY.ogg (or another kind); None for none.
    """
    lines = "\n".join(" ".join(caption.split()) for caption in captions)
    said = {"captions": lines.encode()} if captions else {}
    members = {
        kind_of(image): image,
        **({} if sound is None else {_sound_kind(sound): sound}),
        **said,
        "json": json_bytes(meta),
    }
    return b"".join(member(f"{key}.{kind}", data) for kind, data in members.items())


def kind_of(image: bytes) -> str:
    """The usual ending of the name of such a file."""
    found = (kind for kind, starts in _KINDS.items() if image.startswith(starts))
    return next(found, "jpg")


def _sound_kind(sound: bytes) -> str:
    found = (kind for start, kind in _SOUNDS.items() if sound.startswith(start))
    return next(found, "mp3")


def member(name: str, data: bytes) -> bytes:
    """A file as it stands in a tar: its header, its content, zeros up to a whole block."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    return info.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % tarfile.BLOCKSIZE)
