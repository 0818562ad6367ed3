"""One picture, whichever way it comes: to the bit the same, or a refusal that says what to do."""

import io
import itertools
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageOps

from data_pipelines.decode import decode
from data_pipelines.faults import Reject
from data_pipelines.images import ImagePreprocess, NaflexPreprocess
from tests.odd_images import odd_images, picture, saved

PHOTO = Image.fromarray(picture(40, 64))
SMALL = PHOTO.resize((16, 10))
PREPROCESS = ImagePreprocess(24, resize="shortest")
SETTINGS = {
    "JPEG": {"quality": 90},
    "PNG": {},
    "WEBP": {"lossless": True},
    "TIFF": {},
    "AVIF": {"quality": 60, "speed": 10},
    "JPEG2000": {},
}
INTEGERS = {3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I"}
OTHERS = {1: "B", 2: "B", 7: "B"}


def exif(value: int, *, kind: int = 3, order: str = "<", before: int = 0) -> bytes:
    """An EXIF block by hand; `before` tags come before the orientation."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    number = struct.pack(order + (INTEGERS | OTHERS)[kind], value).ljust(4, b"\0")
    tags = [struct.pack(order + "HHII", 1 + i, 4, 1, i) for i in range(before)]
    tags.append(struct.pack(order + "HHI", 0x112, kind, 1) + number)
    body = struct.pack(order + "H", len(tags)) + b"".join(tags) + bytes(4)
    return b"Exif\0\0" + head + body


def xmp(value: int) -> bytes:
    return b'<x:xmpmeta><rdf:Description tiff:Orientation="%d"/></x:xmpmeta>' % value


def files() -> dict[str, bytes]:
    """Odd pictures, and one of every format, animated and turned where it can be."""
    found = odd_images()
    for kind, settings in SETTINGS.items():
        found[kind] = saved(PHOTO, kind, **settings)
        if kind != "JPEG2000":
            found[f"turned {kind}"] = saved(PHOTO, kind, exif=exif(6)[6:], **settings)
            found[f"mirrored {kind}"] = saved(PHOTO, kind, exif=exif(2)[6:], **settings)
    for kind in ("WEBP", "GIF", "PNG", "AVIF", "TIFF", "MPO"):
        others = [Image.new("RGB", PHOTO.size, colour) for colour in ("red", "lime")]
        found[f"frames of {kind}"] = saved(PHOTO, kind, save_all=True, append_images=others)
    found["progressive"] = saved(PHOTO, "JPEG", progressive=True, subsampling=2)
    found["cmyk turned"] = saved(PHOTO.convert("CMYK"), "JPEG", exif=exif(8))
    found["xmp"] = saved(PHOTO, "JPEG", xmp=xmp(6))
    found["xmp of a webp"] = saved(PHOTO, "WEBP", xmp=xmp(3))
    found["exif before xmp"] = saved(PHOTO, "JPEG", xmp=xmp(6), exif=exif(1))
    return found


FILES = files()


@pytest.mark.parametrize("name", FILES)
def test_the_same_file_gives_the_same_pixels_whichever_way_it_comes(name, tmp_path):
    data = FILES[name]
    path = tmp_path / "picture.jpg"  # whatever it is: the content says what it is
    path.write_bytes(data)
    decoded = decode(data)
    stood = Image.open(io.BytesIO(data))
    stood.load()
    with path.open("rb") as file, Image.open(path) as opened:
        ways = [
            path, str(path), data, bytearray(data), memoryview(data), io.BytesIO(data), file,
            opened, stood, stood.copy(), ImageOps.exif_transpose(stood), Image.fromarray(decoded),
        ]  # fmt: skip
        rows = PREPROCESS(ways)
    assert len(rows) == len(ways)
    for way, row in zip(ways, rows, strict=True):
        np.testing.assert_array_equal(row, PREPROCESS(data)[0], err_msg=repr(way)[:60])


@pytest.mark.parametrize("name", ["large", "turned jpeg", "rgba", "grey", "cmyk", "sixteen bits"])
@pytest.mark.parametrize("preprocess", [PREPROCESS, NaflexPreprocess(max_num_patches=9)])
def test_arrays_of_a_picture_are_the_picture_in_every_layout(name, preprocess):
    decoded = decode(FILES[name])
    if (decoded[..., 3] == 255).all():
        decoded = np.ascontiguousarray(decoded[..., :3])
    first = decoded.transpose(2, 0, 1)
    padded = np.zeros((decoded.shape[0], decoded.shape[1] * 2, decoded.shape[2]), np.uint8)
    padded[:, ::2] = decoded
    fixed = decoded.copy()
    fixed.flags.writeable = False
    ways = [
        decoded, first, np.ascontiguousarray(first), padded[:, ::2], fixed,
        decoded[::-1].copy()[::-1], jnp.asarray(decoded), jnp.asarray(first),
    ]  # fmt: skip
    expected = preprocess(FILES[name])
    for way in [*ways, ways, np.stack([decoded] * 2), np.stack([first] * 2)]:
        for one, same in zip(_fields(preprocess(way)), _fields(expected), strict=True):
            np.testing.assert_array_equal(one, np.repeat(same, len(one), axis=0))


def _fields(found):
    return found if isinstance(found, tuple) else (found,)


def test_grey_arrays_are_grey_pictures_in_every_layout():
    grey = picture(30, 41, 1)
    expected = ImagePreprocess(16)(Image.fromarray(grey[..., 0]))[0]
    for way in (grey, grey[..., 0], grey.transpose(2, 0, 1), jnp.asarray(grey[..., 0])):
        np.testing.assert_array_equal(ImagePreprocess(16)(way), expected[None])
    batch = np.stack([grey, grey, grey, grey, grey])
    np.testing.assert_array_equal(ImagePreprocess(16)(batch), np.stack([expected] * 5))
    np.testing.assert_array_equal(ImagePreprocess(16)(batch.transpose(0, 3, 1, 2))[3], expected)


def test_a_list_may_mix_all_kinds_and_a_generator_is_a_list(tmp_path):
    data = saved(PHOTO)
    (tmp_path / "a").write_bytes(data)
    array = np.asarray(PHOTO)
    mixed = [data, PHOTO, array, jnp.asarray(array.transpose(2, 0, 1)), tmp_path / "a"]
    rows = PREPROCESS(image for image in mixed)
    np.testing.assert_array_equal(rows, np.repeat(rows[:1], 5, axis=0))
    paths = np.array([str(tmp_path / "a")] * 2)
    np.testing.assert_array_equal(PREPROCESS(paths), rows[:2])


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, 40, 3), r"\[3, 40, 3\] may be read as channels first or last; hand over PIL"),
        ((1, 40, 4), "may be read as channels first or last"),
        ((2, 4, 4, 3), "may be read as channels first or last"),
        ((40, 50, 60), r"must be \[h, w\].*got shape \[40, 50, 60\]"),
        ((3,), r"got shape \[3\]"),
        ((), r"got shape \[\]"),
        ((2, 2, 9, 9, 3), r"got shape \[2, 2, 9, 9, 3\]"),
        ((9, 9, 2), "c = 1, 3 or 4 channels"),
        ((0, 9, 3), "at least one pixel"),
        ((3, 0, 9), "at least one pixel"),
        ((0, 0), "at least one pixel"),
    ],
)
def test_a_shape_that_is_no_picture_or_two_is_refused(shape, message):
    for make in (np.zeros, jnp.zeros):
        with pytest.raises(ValueError, match=message):
            PREPROCESS(make(shape, np.uint8))


@pytest.mark.parametrize(
    ("dtype", "remedy"),
    [
        (np.float32, r"\(x \* 255\).round\(\).astype\('uint8'\)"),
        (np.float16, "before any mean is subtracted"),
        (np.int32, r"x.astype\('uint8'\) if it holds 0..255"),
        (np.uint16, r"\(x >> 8\).astype\('uint8'\) if 0..65535"),
        (bool, r"x.astype\('uint8'\) \* 255"),
    ],
)
def test_arrays_of_another_type_are_refused_with_the_way_to_bytes(dtype, remedy):
    for make in (np.ones, jnp.ones):
        with pytest.raises(ValueError, match=f"must be uint8, 0..255; got .*{remedy}"):
            PREPROCESS(make((3, 9, 9), dtype))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("https://example.org/a.png", "must be the path of a local file, got the address"),
        ("gs://bucket/a.png", "must be the path of a local file, got the address"),
        ("data:image/png;base64,iVBORw0KGgo", "must be the path of a local file"),
        (saved(PHOTO).decode("latin-1"), "looks like the contents of one"),
        ("/9j/" + "A" * 5000, "base64.b64decode"),
        (io.StringIO("text"), "must be open in binary mode"),
        (None, "an image must be a path, .* got NoneType"),
        ([None], "an image must be a path, .* got NoneType"),
        (7, "an image must be a path, .* got int 7"),
        ({"image": PHOTO}, "an image must be a path, .* got dict"),
        ([[[1, 2, 3]]], "an image must be a path, .* got list"),
        ([np.zeros((2, 9, 9, 3), np.uint8)], r"must be one, got a batch \[2, 9, 9, 3\]"),
        (np.array([object()]), "an image must be a path, .* got object"),
    ],
)
def test_what_is_no_image_is_refused_with_what_would_be(image, message):
    with pytest.raises(ValueError, match=message):
        PREPROCESS(image)


def test_the_refused_image_of_a_list_is_named():
    with pytest.raises(Reject) as caught:
        PREPROCESS([PHOTO, b"<html>"])
    assert caught.value.__notes__ == ["image 1 of those handed over"]


@pytest.mark.parametrize(
    ("mode", "same"), [("HSV", "RGB"), ("CMYK", "RGB"), ("YCbCr", "RGB"), ("La", "LA"), ("1", "L")]
)
def test_images_of_every_mode_with_a_conversion_are_read(mode, same):
    photo = PHOTO.convert("LA") if mode == "La" else PHOTO
    expected = np.asarray(photo.convert(mode).convert(same).convert("RGB"))[None, :40, :40]
    square = photo.convert(mode).crop((0, 0, 40, 40))
    np.testing.assert_array_equal(ImagePreprocess(40)(square), expected)


@pytest.mark.parametrize("mode", ["I", "F", "LAB"])
def test_images_of_a_mode_without_a_known_range_say_so(mode):
    with pytest.raises(Reject, match=f"image mode unsupported: {mode}"):
        PREPROCESS(Image.new(mode, (9, 9)))


def test_a_damaged_image_of_pillow_says_why_as_its_file_does():
    data = saved(PHOTO)
    with pytest.raises(Reject, match="image truncated"):
        PREPROCESS(Image.open(io.BytesIO(data[: len(data) // 2])))


@pytest.mark.parametrize("value", range(10))
@pytest.mark.parametrize("order", "<>")
def test_orientation_is_applied_where_pillow_applies_it(value, order):
    for kind in INTEGERS | OTHERS:
        for name in ("JPEG", "PNG", "WEBP"):
            block = exif(value, kind=kind, order=order, before=value % 3)
            _check_turned(saved(SMALL, name, **SETTINGS[name], exif=block))


@pytest.mark.parametrize("value", range(1, 9))
def test_orientation_of_tiff_and_avif_is_applied_where_pillow_applies_it(value):
    for name in ("TIFF", "AVIF"):
        _check_turned(saved(SMALL, name, **SETTINGS[name], exif=exif(value)[6:]))


@pytest.mark.parametrize("value", [0, 1, 3, 6, 9])
def test_orientation_that_only_xmp_says_is_applied_where_pillow_applies_it(value):
    for name in ("JPEG", "WEBP", "TIFF", "AVIF"):
        packet = {"tiffinfo": {700: xmp(value)}} if name == "TIFF" else {"xmp": xmp(value)}
        _check_turned(saved(SMALL, name, **SETTINGS[name], **packet))
        both = saved(SMALL, "JPEG", xmp=xmp(value), exif=exif(1))
        _check_turned(both)


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt"])
def test_orientation_in_a_png_that_imagemagick_wrote_is_applied(kind):
    block = exif(6)
    text = b"\nexif\n%8d\n" % len(block) + block.hex().encode() + b"\n"
    text = b"\0" + zlib.compress(text) if kind == b"zTXt" else text
    _check_turned(_with_chunk(kind, b"Raw profile type exif\0" + text))


def test_a_long_exif_block_goes_on_in_a_second_segment():
    block = exif(6, before=30)
    parts = [block[:100], b"Exif\0\0" + block[100:]]
    segments = b"".join(b"\xff\xe1" + struct.pack(">H", len(p) + 2) + p for p in parts)
    data = saved(PHOTO, "JPEG")
    _check_turned(data[:2] + segments + data[2:])


@pytest.mark.parametrize("between", [b"\xff\xff\xff", b"\0\0", b"junk"])
def test_an_exif_block_behind_filling_or_junk_is_found(between):
    block = b"\xff\xe1" + struct.pack(">H", len(exif(6)) + 2) + exif(6)
    for mode in ("RGB", "CMYK"):
        data = saved(PHOTO.convert(mode), "JPEG")
        end = data.index(b"\xff\xdb")
        _check_turned(data[:end] + between + block + data[end:])


def test_warnings_are_as_they_were_after_many_threads():
    damaged = exif(6)[:20]
    files = [
        saved(PHOTO.convert("CMYK"), "JPEG", exif=damaged),
        saved(PHOTO, "AVIF", speed=10, exif=exif(6, before=1)[6:]),
        saved(PHOTO, "TIFF", tiffinfo={700: xmp(6)}),
    ]
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(decode, files * 20))
        list(threads.map(PREPROCESS, [Image.open(io.BytesIO(data)) for data in files[1:] * 20]))
    assert warnings.filters == before


def _check_turned(data: bytes) -> None:
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGBA"))
    np.testing.assert_array_equal(decode(data), upright)
    np.testing.assert_array_equal(PREPROCESS(Image.open(io.BytesIO(data))), PREPROCESS(data))


def _with_chunk(kind: bytes, body: bytes, *, wrong: int = 0) -> bytes:
    """A PNG with one more chunk before its pixels; `wrong` is added to the checksum."""
    data = saved(PHOTO)
    checksum = (zlib.crc32(kind + body) + wrong) % 2**32
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)
    return data[:33] + chunk + data[33:]


def test_an_orientation_that_was_taken_out_of_an_image_is_not_applied():
    image = Image.open(io.BytesIO(saved(PHOTO, exif=exif(6))))
    turned = image.rotate(-90, expand=True)
    del turned.getexif()[0x0112]
    np.testing.assert_array_equal(PREPROCESS(turned), PREPROCESS(image))


@pytest.mark.parametrize("place", range(6, 40, 3))
def test_damaged_exif_never_warns_and_never_costs_the_image(place):
    block = exif(6, before=2)
    damaged = block[:place], block[:place] + b"\xff" + block[place + 1 :]
    for part, kind in itertools.product(damaged, ("JPEG", "PNG", "WEBP", "CMYK")):
        mode, name = ("CMYK", "JPEG") if kind == "CMYK" else ("RGB", kind)
        data = saved(PHOTO.convert(mode), name, exif=part)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            decoded = decode(data)
        assert not caught
        assert sorted(decoded.shape[:2]) == [40, 64]


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
        np.testing.assert_array_equal(decode(_with_chunk(kind, body, wrong=wrong))[..., :3], PHOTO)
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
