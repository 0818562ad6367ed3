"""What a file is, by its first bytes: Pillow's reader for it, or what it is that is not read."""

import io
from collections.abc import Callable

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from data_pipelines.faults import Reject

JPEG = b"\xff\xd8"
_Starts = bytes | tuple[bytes, ...]  # as `startswith` takes them
# The readers are called themselves, for `Image.open` tries about forty formats (some start other
# programs) and warns about size before we can look at it.
_READERS: tuple[tuple[_Starts, Callable[[io.BytesIO], Image.Image]], ...] = (
    (JPEG, JpegImagePlugin.JpegImageFile),
    (b"\x89PNG\r\n\x1a\n", PngImagePlugin.PngImageFile),
    ((b"GIF87a", b"GIF89a"), GifImagePlugin.GifImageFile),
    (b"BM", BmpImagePlugin.BmpImageFile),
    ((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), TiffImagePlugin.TiffImageFile),
    ((b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"), Jpeg2KImagePlugin.Jpeg2KImageFile),
)
_CONVERT = "convert it to JPEG or PNG"
_UNFETCHED: tuple[tuple[_Starts, str], ...] = (
    (b"version https://git-lfs", "a pointer of Git LFS: fetch the file itself with git lfs pull"),
    ((b"<!doctype html", b"<html"), "an HTML page: the download failed"),
)
_OTHERS: tuple[tuple[_Starts, str], ...] = (
    *_UNFETCHED,
    (b"<svg", f"SVG: {_CONVERT}"),
    (b"<?xml", "XML"),
    (b"{", "JSON"),
    (b"data:", "a data: URL: decode the base64 behind its comma"),
    ((b"/9j/", b"ivborw0kggo"), "base64: decode it"),
    (b"%pdf", f"PDF: {_CONVERT}"),
    ((b"%!ps", b"\xc5\xd0\xd3\xc6"), f"PostScript: {_CONVERT}"),
    (b"8bps", f"Photoshop: {_CONVERT}"),
    ((b"\0\0\0\x0cjxl ", b"\xff\x0a"), f"JPEG XL: {_CONVERT}"),
    (b"\0\0\1\0", f"ICO: {_CONVERT}"),
    (b"v/1\1", f"OpenEXR: {_CONVERT}"),
    (b"#?radiance", f"Radiance HDR: {_CONVERT}"),
    (tuple(b"p%d" % i for i in range(1, 8)), f"Netpbm: {_CONVERT}"),
    (b"\x1f\x8b", "gzip: unpack it"),
    (b"bzh", "bzip2: unpack it"),
    (b"\xfd7zxz", "xz: unpack it"),
    (b"\x28\xb5\x2f\xfd", "zstd: unpack it"),
    (b"pk\3\4", "a zip archive: unpack it"),
    (b"\x93numpy", "a NumPy array: load it and hand over the array"),
    (b"riff", "RIFF, but not WebP: sound or video"),
)
_HEIF = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


def reader(data: bytes) -> Callable[[io.BytesIO], Image.Image]:
    """Pillow's reader for the file.

    Raises:
      Reject: not recognised, with what it is instead; or cut off.
    """
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        if len(data) < 8 + int.from_bytes(data[4:8], "little"):
            raise Reject("image truncated", "the file is shorter than its RIFF header says")
        return WebPImagePlugin.WebPImageFile
    if data[4:8] == b"ftyp":
        return _iso_reader(data)
    for start, found in _READERS:
        if data.startswith(start):
            return found
    raise Reject("image not recognised", _described(data))


def _iso_reader(data: bytes) -> Callable[[io.BytesIO], Image.Image]:
    """The reader for a box file, whose first box lists what it is compatible with."""
    listed = data[8 : int.from_bytes(data[:4])][:256]
    brands = [listed[i : i + 4] for i in range(0, len(listed), 4)]
    if b"avif" in brands or b"avis" in brands:
        if not AvifImagePlugin.SUPPORTED:
            raise Reject("image not recognised", "AVIF, which this Pillow was built without")
        return AvifImagePlugin.AvifImageFile
    if any(brand in _HEIF for brand in brands):
        raise Reject("image not recognised", f"HEIC: {_CONVERT}")
    name = brands[0].decode("latin-1") if brands else ""
    raise Reject("image not recognised", f"a film or another ISO media file ({name!r})")


def unfetched(data: bytes) -> str | None:
    """What lies in the place of a file, of any kind, that was not fetched; None where none does."""
    text = _start(data)
    return next((name for start, name in _UNFETCHED if text.startswith(start)), None)


def _start(data: bytes) -> bytes:
    return data[:512].removeprefix(b"\xef\xbb\xbf").lstrip().lower()


def _described(data: bytes) -> str:
    text = _start(data)
    if text.startswith((b"<?xml", b"<!--", b"<!doctype svg")) and b"<svg" in text:
        text = b"<svg"
    for start, name in _OTHERS:
        if text.startswith(start):
            return name
    return f"it begins with {data[:12]!r}"
