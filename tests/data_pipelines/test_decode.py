"""Image files to RGBA: conversions against Pillow's own, and a reason for every bad file."""

import io
import struct
import zlib

import numpy as np
import pytest
from data_makers import encoded, pixels
from PIL import Image

from data_pipelines.decode import decode, rgba
from data_pipelines.exif import orientation, turn
from data_pipelines.faults import Reject
from data_pipelines.jpeg import head

# Smooth, so that lossy formats stay near the original.
SMOOTH = (np.indices((48, 64)).sum(0)[..., None] * np.array([1, 2, 1])).astype(np.uint8)


def chunk(kind, body) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(header_size, *, depth=8, colour=2, data=b"") -> bytes:
    """A PNG by hand: the header may say anything."""
    header = struct.pack(">IIBBBBB", *header_size, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("JPEG", {"quality": 90}),
        ("JPEG", {"quality": 75, "progressive": True}),
        ("JPEG", {"quality": 90, "subsampling": 2}),
        ("WEBP", {"quality": 80}),
        ("WEBP", {"lossless": True}),
        ("BMP", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
    ],
)
def test_pixels_are_those_that_pillow_reads(kind, options):
    data = encoded(SMOOTH, kind, **options)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))
    decoded = decode(data)
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, expected)


def test_grey_and_one_bit_become_rgb():
    grey = pixels(0, channels=1)
    np.testing.assert_array_equal(decode(encoded(grey))[..., :3], grey.repeat(3, axis=2))
    one_bit = Image.fromarray(grey.squeeze()).convert("1")
    assert set(np.unique(decode(encoded(one_bit)))) == {0, 255}


def test_alpha_stays_beside_the_colours():
    rgba = pixels(0, channels=4)
    np.testing.assert_array_equal(decode(encoded(rgba)), rgba)
    grey = pixels(1, channels=2)
    decoded = decode(encoded(Image.fromarray(grey, "LA")))
    np.testing.assert_array_equal(decoded, grey[..., [0, 0, 0, 1]])


def test_a_palette_keeps_its_transparency():
    palette = Image.new("P", (2, 1))
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.putdata([0, 1])
    decoded = decode(encoded(palette, transparency=bytes([0, 128])))
    np.testing.assert_array_equal(decoded, [[[255, 0, 0, 0], [0, 0, 255, 128]]])


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_keep_their_high_byte(kind):
    grey = (np.arange(12, dtype=np.uint16).reshape(3, 4) * 5461).astype(np.uint16)
    decoded = decode(encoded(grey, kind))
    np.testing.assert_array_equal(decoded[..., 0], grey >> 8)
    np.testing.assert_array_equal(decoded[..., 3], 255)


def test_sixteen_bit_colours_keep_their_high_byte():
    row = struct.pack(">B6H", 0, 0x1234, 0x8000, 0xFFFF, 0, 0x00FF, 0x0100)
    decoded = decode(png((2, 1), depth=16, data=row))
    np.testing.assert_array_equal(decoded[0, :, :3], [[0x12, 0x80, 0xFF], [0, 0, 1]])


def test_cmyk_is_converted():
    decoded = decode(encoded(Image.fromarray(SMOOTH).convert("CMYK"), "JPEG", quality=95))
    difference = np.abs(decoded[..., :3].astype(int) - SMOOTH)
    assert difference.mean() < 4


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_an_animation_gives_its_first_frame(kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    np.testing.assert_array_equal(decode(data), np.broadcast_to([255, 0, 0, 255], (8, 8, 4)))


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_thin_images_are_read(size, kind):
    assert decode(encoded(Image.new("RGB", size), kind)).shape == (size[1], size[0], 4)


@pytest.mark.parametrize("value", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_orientation_is_applied(kind, value):
    exif = Image.Exif()
    exif[0x0112] = value
    options = {"lossless": True} if kind == "WEBP" else {"quality": 100} if kind == "JPEG" else {}
    data = encoded(SMOOTH, kind, exif=exif, **options)
    upright = {
        1: SMOOTH,
        2: SMOOTH[:, ::-1],
        3: SMOOTH[::-1, ::-1],
        4: SMOOTH[::-1],
        5: SMOOTH.swapaxes(0, 1),
        6: SMOOTH.swapaxes(0, 1)[:, ::-1],
        7: SMOOTH.swapaxes(0, 1)[::-1, ::-1],
        8: SMOOTH.swapaxes(0, 1)[::-1],
    }[value]
    decoded = decode(data)[..., :3].astype(int)
    assert decoded.shape == upright.shape
    assert np.abs(decoded - upright).mean() < 12  # chroma of the JPEG


def test_turning_agrees_with_pillow():
    from PIL import ImageOps

    array = pixels(0)
    for value in range(1, 9):
        image = Image.fromarray(array)
        image.getexif()[0x0112] = value
        expected = np.asarray(ImageOps.exif_transpose(image))
        np.testing.assert_array_equal(turn(array, value), expected)


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"Exif\0\0",
        b"Exif\0\0II*\0",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\x01\x12\0\x03",
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x63\0\0",
        b"garbage",
    ],
)
def test_a_damaged_exif_block_says_nothing(block):
    assert orientation(block) == 1
    jpeg = encoded(SMOOTH, "JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block
    np.testing.assert_array_equal(decode(jpeg[:2] + segment + jpeg[2:]), decode(jpeg))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "image empty"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "image not recognised"),
        (b"\x00\x01\x02random", "image not recognised"),
        (b"%!PS-Adobe-3.0 EPSF", "image not recognised"),
        (png((20_000, 20_000), data=bytes(100)), "image too large"),
        (png((60_000, 60_000), data=bytes(100)), "image too large"),
        (png((100, 100), data=bytes(50)), "image truncated"),
        (encoded(Image.new("F", (4, 4)), "TIFF"), "image mode unsupported"),
        (encoded(Image.new("I", (4, 4)), "TIFF"), "image mode unsupported"),
        (b"\xff\xd8\xff\xd9", "image damaged"),
    ],
)
def test_a_bad_file_is_rejected_with_its_reason(data, reason):
    with pytest.raises(Reject) as caught:
        decode(data)
    assert caught.value.reason == reason


def test_a_picture_without_pixels_is_rejected_as_empty():
    with pytest.raises(Reject, match="image empty: 0 x 3 pixels"):
        rgba(Image.new("RGB", (0, 3)))


def test_a_huge_jpeg_is_refused_by_its_header():
    jpeg = bytearray(encoded(Image.new("RGB", (16, 16)), "JPEG"))
    start = jpeg.index(b"\xff\xc0")
    jpeg[start + 5 : start + 9] = struct.pack(">HH", 20_000, 20_000)
    with pytest.raises(Reject, match="image too large: 20000 x 20000"):
        decode(bytes(jpeg))


def test_a_header_that_promises_one_scan_is_kept_to_its_word():
    """Else scans must be counted: libjpeg goes over the whole picture for each."""
    jpeg = encoded(SMOOTH, "JPEG")
    scan, frame = jpeg.index(b"\xff\xda"), jpeg.index(b"\xff\xc0")
    assert head(jpeg).has_one_scan
    for data in (jpeg[:scan] + jpeg[scan:-2] * 300 + jpeg[-2:], jpeg[:scan] + jpeg[scan:-2] * 2):
        assert head(data).has_one_scan
        with pytest.raises(Reject, match="image damaged|image truncated"):
            decode(data)
    of_one_channel = jpeg[: scan + 4] + b"\1" + jpeg[scan + 5 :]
    without_length = jpeg[:frame] + b"\xff\x01\0\4ab" + jpeg[frame:]
    progressive = encoded(SMOOTH, "JPEG", progressive=True)
    for data in (of_one_channel, without_length, progressive, jpeg[:frame], jpeg[: scan + 1]):
        assert not head(data).has_one_scan


def test_a_huge_webp_is_refused_by_its_header():
    webp = bytearray(encoded(Image.new("RGB", (16, 16)), "WEBP", lossless=True))
    place = webp.index(b"VP8L") + 9
    flags = int.from_bytes(webp[place : place + 4], "little") >> 28 << 28
    webp[place : place + 4] = (flags | 16382 | 16382 << 14).to_bytes(4, "little")
    with pytest.raises(Reject, match="image too large"):
        decode(bytes(webp))


def test_the_pixel_limit_is_inclusive():
    data = encoded(Image.new("RGB", (10, 10)))
    assert decode(data, max_pixels=100).shape == (10, 10, 4)
    with pytest.raises(Reject, match="10 x 10 > 99 pixels"):
        decode(data, max_pixels=99)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_a_truncated_file_is_rejected(kind, part):
    data = encoded(pixels(0, height=40, width=40), kind)
    with pytest.raises(Reject, match="image truncated|image damaged"):
        decode(data[: int(len(data) * part)])


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "AVIF", "JPEG2000"])
def test_flipped_bytes_give_pixels_or_a_reason_and_nothing_else(kind):
    data = encoded(SMOOTH, kind)
    rng = np.random.default_rng(0)
    for _ in range(150):
        bad = bytearray(data)
        for place in rng.integers(0, len(bad), rng.choice([1, 4, 20])):
            bad[place] = rng.integers(256)
        try:
            assert decode(bytes(bad)).shape[2] == 4
        except Reject:
            pass
