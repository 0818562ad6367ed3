"""Files that every viewer opens are read, whatever stands beside their pixels; others are named."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from data_pipelines.decode import decode
from data_pipelines.faults import Reject
from data_pipelines.images import ImagePreprocess, NaflexPreprocess
from tests.odd_images import exif, picture, saved, with_chunk

PHOTO = Image.fromarray(picture(40, 64))
PREPROCESS = ImagePreprocess(24, resize="shortest")
LARGE = bytes(np.random.default_rng(0).integers(0, 256, 2_000_000, np.uint8))


@pytest.mark.parametrize(
    ("kind", "body", "wrong"),
    [
        (b"iCCP", b"profile\0\0" + zlib.compress(LARGE, 1), 0),
        (b"zTXt", b"comment\0\0" + zlib.compress(bytes(30_000_000)), 0),
        (b"iTXt", b"comment\0\1\0\0\0" + zlib.compress(LARGE, 1), 0),
        (b"tEXt", b"comment\0some words", 1),
        (b"pHYs", bytes(9), 1),
        (b"tIME", bytes(7), 7),
        (b"tRNS", bytes(6), 1),
        (b"eXIf", exif(6)[6:], 1),
        (b"vpAg", b"private", 1),
        (b"acTL", bytes(8), 0),
        (b"acTL", bytes(3), 0),
        (b"fcTL", bytes(26), 0),
        (b"cHRM", b"", 0),
    ],
)
def test_what_a_png_carries_beside_its_pixels_does_not_cost_them(kind, body, wrong):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        np.testing.assert_array_equal(
            decode(with_chunk(saved(PHOTO), kind, body, wrong=wrong))[..., :3], PHOTO
        )
    assert not caught


def test_a_large_text_behind_the_pixels_does_not_cost_them():
    data, body = saved(PHOTO), b"zTXtcomment\0\0" + zlib.compress(bytes(3_000_000))
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    np.testing.assert_array_equal(decode(data[:-12] + chunk + data[-12:])[..., :3], PHOTO)


def test_transparency_and_orientation_stay_where_a_profile_is_too_large():
    data = saved(PHOTO.quantize(9), transparency=3, exif=exif(6))
    chunk = b"iCCPprofile\0\0" + zlib.compress(LARGE, 1)
    chunk = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    np.testing.assert_array_equal(decode(data[:33] + chunk + data[33:]), decode(data))


@pytest.mark.parametrize("wrong", ["IHDR", "PLTE"])
def test_a_wrong_checksum_of_what_makes_the_pixels_costs_them(wrong):
    data = bytearray(saved(PHOTO.quantize(9)))
    place = data.index(wrong.encode())
    data[place + 8 + int.from_bytes(data[place - 4 : place]) - 4] ^= 1
    with pytest.raises(Reject, match="image damaged|image truncated"):
        decode(bytes(data))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP"])
def test_bytes_behind_a_picture_do_not_matter(kind):
    data = saved(PHOTO, kind)
    np.testing.assert_array_equal(decode(data + b"\0" * 99 + b"trailer"), decode(data))


@pytest.mark.parametrize("brand", [b"mif1", b"miaf"])
def test_avif_is_known_by_the_brands_that_it_lists(brand):
    data = saved(PHOTO, "AVIF", speed=10)
    assert data[8:12] == b"avif"
    listed = data[16 : int.from_bytes(data[:4])]
    assert b"avif" in [listed[i : i + 4] for i in range(0, len(listed), 4)]
    np.testing.assert_array_equal(decode(data[:8] + brand + data[12:]), decode(data))


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99), "HEIC: convert it to JPEG or PNG"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + bytes(99), "HEIC: convert it"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp42" + bytes(99), "a film or another ISO media file"),
        (b"\0\0\0\x08ftyp", "a film or another ISO media file"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG: convert it"),
        (b'<?xml version="1.0"?>\n<!-- made --> <svg/>', "SVG: convert it"),
        (b"\xef\xbb\xbf<!DOCTYPE html><html>", "an HTML page"),
        (b"\n\n<HTML>", "an HTML page"),
        (b'{"error": 404}', "JSON"),
        (b"%PDF-1.7", "PDF: convert it"),
        (b"\x1f\x8b\x08", "gzip: unpack it"),
        (b"PK\3\4", "a zip archive: unpack it"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL: convert it"),
        (b"\0\0\1\0\1\0", "ICO: convert it"),
        (b"P6 3 3 255\n", "Netpbm: convert it"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"iVBORw0KGgoAAAANSUhEUg", "base64: decode it"),
        (b"RIFF\x20\0\0\0AVI LIST", "RIFF, but not WebP"),
        (b"\x01\x02\x03", r"it begins with b'\x01\x02\x03'"),
    ],
)
def test_what_is_not_read_is_named(data, name):
    with pytest.raises(Reject) as caught:
        decode(data)
    assert caught.value.reason == "image not recognised"
    assert name in caught.value.detail


def test_a_jpeg_of_twelve_bits_is_refused_as_such():
    data = bytearray(saved(PHOTO, "JPEG"))
    data[data.index(b"\xff\xc0") + 4] = 12
    with pytest.raises(Reject, match="image mode unsupported: .*12-bit"):
        decode(bytes(data))


def test_a_large_image_is_refused_whichever_way_it_comes_and_the_limit_is_a_setting(tmp_path):
    data = saved(PHOTO)
    (tmp_path / "a.png").write_bytes(data)
    for way in (data, tmp_path / "a.png", io.BytesIO(data), Image.open(io.BytesIO(data)), PHOTO):
        for preprocess in (PREPROCESS, NaflexPreprocess(max_num_patches=4)):
            preprocess(way, max_pixels=64 * 40)
            with pytest.raises(Reject, match="image too large: 64 x 40 > 2559 pixels"):
                preprocess(way, max_pixels=64 * 40 - 1)
