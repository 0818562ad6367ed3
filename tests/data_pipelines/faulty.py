"""Bad pictures and captions, each a file as a data set may hold it, made on the spot."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

from tests.odd_images import exif, picture, saved, with_chunk

PHOTO = Image.fromarray(picture(60, 84))
LINES = [f"a red fox {n} in the snow" for n in range(3000)]


def cut(kind, share):
    data = saved(PHOTO, kind)
    return data[: int(len(data) * share)]


def png_of(width, height, *, pixels=100):
    """A PNG whose header says any size, and whose pixels are so many zeros."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(bytes(pixels))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


def bmp_of(width, height):
    data = bytearray(saved(PHOTO, "BMP"))
    data[18:26] = struct.pack("<ii", width, height)
    return bytes(data)


def tiff_of(width, height):
    """A TIFF without a strip, of any size."""
    tags = ((256, width), (257, height), (258, 8), (259, 1), (262, 1), (273, 8), (279, 1))
    body = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + body + bytes(4)


def gif_of(width, height):
    data = bytearray(saved(PHOTO, "GIF"))
    data[6:10] = struct.pack("<HH", width, height)
    return bytes(data)


def jpeg_2000_of(width, height):
    data = bytearray(saved(PHOTO, "JPEG2000"))
    place = data.index(b"\xff\x51") + 6
    data[place : place + 8] = struct.pack(">II", width, height)
    place = data.index(b"ihdr") + 4
    data[place : place + 8] = struct.pack(">II", height, width)
    return bytes(data)


def film(kind, frames):
    first, other = PHOTO, PHOTO.rotate(180)
    return saved(first, kind, save_all=True, append_images=[other] * (frames - 1))


def with_segment(body, *, marker=0xE1):
    """A JPEG with one more segment in front."""
    jpeg = saved(PHOTO, "JPEG")
    return jpeg[:2] + struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body + jpeg[2:]


def with_bomb(kind, begin):
    """A PNG beside whose pixels are 200 MB, packed."""
    packer = zlib.compressobj(1)
    body = b"".join(packer.compress(bytes(2**20)) for _ in range(200)) + packer.flush()
    return with_chunk(saved(PHOTO), kind, begin + body)


def ycck():
    """A CMYK JPEG whose Adobe segment says YCCK."""
    data = bytearray(saved(PHOTO.convert("CMYK"), "JPEG"))
    place = data.index(b"Adobe") + 11
    assert data[place] in (0, 2)
    data[place] = 2
    return bytes(data)


def mode(name):
    if name == "I;16":
        return saved(Image.fromarray(picture(60, 84, 1)[..., 0].astype(np.uint16) * 257))
    if name in "IF":
        return saved(PHOTO.convert("L").convert(name), "TIFF")
    return saved(PHOTO.convert(name), "JPEG" if name == "CMYK" else "PNG")


def with_transparent_colour():
    return saved(PHOTO.quantize(9), transparency=3)


def of_size(width, height):
    return saved(Image.new("RGB", (width, height), (9, 99, 199)))


def turned(value):
    return saved(PHOTO, "JPEG", exif=exif(value))


def noise(count):
    return np.random.default_rng(0).bytes(count)


def words(count):
    text = io.StringIO()
    while text.tell() < count:
        text.write(f"{LINES[text.tell() % 3000]} ")
    return text.getvalue()[:count].encode()


def of_scans(count):
    """A JPEG of 16 million pixels, 60 KB and so many scans more than it needs."""
    jpeg = saved(Image.new("L", (4000, 4000), 128), "JPEG", progressive=True)
    scan = jpeg[jpeg.rindex(b"\xff\xc4") : -2]
    return jpeg[:-2] + scan * count + jpeg[-2:]


def many_exif_blocks():
    """A JPEG whose 20 MB of EXIF are nothing but headers."""
    body = b"Exif\0\0" * 10_000
    jpeg = saved(PHOTO, "JPEG")
    return jpeg[:2] + (struct.pack(">BBH", 0xFF, 0xE1, len(body) + 2) + body) * 330 + jpeg[2:]
