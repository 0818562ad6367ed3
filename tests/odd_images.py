"""Images that preprocessing is likely to disagree on, as files, and by the documented rules."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

from data_pipelines.decode import decode
from data_pipelines.pixels import flatten

WHITE = (255, 255, 255)
EXIF_INTEGERS = {3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I"}
EXIF_OTHERS = {1: "B", 2: "B", 7: "B"}


def picture(height: int, width: int, channels: int = 3, *, seed: int = 0) -> np.ndarray:
    """Slopes, edges and noise, uint8 `[height, width, channels]`."""
    random = np.random.default_rng(seed)
    rows = np.arange(height)[:, None, None] / height
    columns = np.arange(width)[None, :, None] / width
    slope = rows * np.linspace(1, 0.2, channels) + columns * np.linspace(0, 0.8, channels)
    checks = ((np.arange(height)[:, None] // 5 + np.arange(width)[None, :] // 7) % 2)[..., None]
    noise = random.integers(-25, 25, (height, width, 1))
    return (slope * 170 + checks * 60 + noise).clip(0, 255).astype(np.uint8)


def saved(image: Image.Image, kind: str = "PNG", **settings) -> bytes:
    """The bytes of a file."""
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def exif(value: int, *, kind: int = 3, order: str = "<", before: int = 0) -> bytes:
    """An EXIF block by hand; `before` tags come before the orientation."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    number = struct.pack(order + (EXIF_INTEGERS | EXIF_OTHERS)[kind], value).ljust(4, b"\0")
    tags = [struct.pack(order + "HHII", 1 + i, 4, 1, i) for i in range(before)]
    tags.append(struct.pack(order + "HHI", 0x112, kind, 1) + number)
    body = struct.pack(order + "H", len(tags)) + b"".join(tags) + bytes(4)
    return b"Exif\0\0" + head + body


def xmp(value: int) -> bytes:
    return b'<x:xmpmeta><rdf:Description tiff:Orientation="%d"/></x:xmpmeta>' % value


def with_chunk(data: bytes, kind: bytes, body: bytes, *, wrong: int = 0) -> bytes:
    """The PNG with one more chunk before its pixels; `wrong` is added to the checksum."""
    checksum = (zlib.crc32(kind + body) + wrong) % 2**32
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)
    return data[:33] + chunk + data[33:]


def odd_images() -> dict[str, bytes]:
    """Name -> file."""
    rgb = {
        "one pixel": (1, 1),
        "tiny": (3, 5),
        "one row": (1, 333),
        "one column": (217, 1),
        "wide": (37, 130),
        "high": (201, 58),
        "odd": (97, 101),
        "exact": (32, 32),
        "nearly square": (64, 65),
        "large": (700, 523),
    }
    files = {name: saved(Image.fromarray(picture(*shape))) for name, shape in rgb.items()}
    photo = Image.fromarray(picture(90, 140))
    files["jpeg"] = saved(photo, "JPEG", quality=85)
    files["turned jpeg"] = saved(photo, "JPEG", exif=exif(6))
    files["cmyk"] = saved(photo.convert("CMYK"), "JPEG")
    files["grey"] = saved(photo.convert("L"))
    files["bits"] = saved(photo.convert("1"))
    files["rgba"] = saved(Image.fromarray(picture(75, 61, 4)))
    files["grey with alpha"] = saved(Image.fromarray(picture(75, 61, 4)).convert("LA"))
    palette = photo.quantize(17)
    files["palette"] = saved(palette)
    files["palette with transparency"] = saved(palette, transparency=3)
    sixteen = picture(80, 60, 1)[..., 0].astype(np.uint16) * 257
    files["sixteen bits"] = saved(Image.fromarray(sixteen))
    return files


def by_the_rules(data: bytes) -> Image.Image:
    """What we document to resize: turned, on white, high bytes, RGB."""
    return Image.fromarray(flatten(decode(data), WHITE))


def as_it_is(data: bytes) -> Image.Image:
    """What a peer opens."""
    return Image.open(io.BytesIO(data))
