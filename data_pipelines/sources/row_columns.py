"""What the columns of a row are to its sample, by their names and by what they hold."""

import dataclasses
from collections.abc import Iterable, Mapping

from data_pipelines.faults import shown
from data_pipelines.sources import table

# What a column holds.
BYTES, TEXT, OTHER = "bytes", "text", "other values"
# The endings are what img2dataset names its column by.
IMAGE_COLUMNS = ("image", "jpg", "jpeg", "png", "webp", "image/encoded", "img", "image_bytes")
AUDIO_COLUMNS = ("audio", "sound", "wav", "flac", "mp3", "ogg", "opus")
CAPTION_COLUMNS = (*table.CAPTION_COLUMNS, "txt", "alt_text", "sentence", "sentences")
KEY_COLUMNS = ("__key__", "key")
_URLS = ("url", "urls", "image_url")


@dataclasses.dataclass(frozen=True)
class Columns:
    """The columns of a table by what they are to a sample.

    Attributes:
      image: holds encoded pictures; None for none.
      audio: holds encoded sounds.
      caption: holds texts, or lists of them.
      key: names the sample.
      fields: all others that do not hold bytes.
    """

    image: str | None
    audio: str | None
    caption: str | None
    key: str | None
    fields: tuple[str, ...]


def find_columns(kinds: Mapping[str, str], *, where: str) -> Columns:
    """What each column is to a sample.

    Args:
      kinds: what each column holds, by its name.
      where: what a message calls the table.

    Raises:
      ValueError: there are neither pictures, nor sounds, nor captions, or URLs in their place.
    """
    bytes_ = [name for name, kind in kinds.items() if kind == BYTES]
    audio = _first(bytes_, AUDIO_COLUMNS)
    image = _first(bytes_, IMAGE_COLUMNS)
    others = [name for name in bytes_ if name != audio]
    if image is None and len(others) == 1:
        image = others[0]
    caption = _first((name for name, kind in kinds.items() if kind == TEXT), CAPTION_COLUMNS)
    urls = _first(kinds, _URLS)
    if image is None and audio is None and (caption is None or urls):
        found = ", ".join(f"{shown(name)} ({kind})" for name, kind in kinds.items()) or "none"
        raise ValueError(
            f"{where} must have a column with the bytes of pictures, called "
            f"{', '.join(IMAGE_COLUMNS)}, or the only one with bytes; it has {found}"
            + "; URLs are not fetched: download what they name, as img2dataset does"
            * bool(urls)
        )
    key = _first((name for name, kind in kinds.items() if kind != BYTES), KEY_COLUMNS)
    taken = {image, audio, caption, key, *bytes_}
    return Columns(image, audio, caption, key, tuple(name for name in kinds if name not in taken))


def _first(columns: Iterable[str], names: tuple[str, ...]) -> str | None:
    """The column with the first of these names, in either case."""
    lowered = {column.lower(): column for column in columns}
    return next((lowered[name] for name in names if name in lowered), None)
