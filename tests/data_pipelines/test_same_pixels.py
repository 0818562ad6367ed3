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
from tests.odd_images import (
    EXIF_INTEGERS,
    EXIF_OTHERS,
    exif,
    odd_images,
    picture,
    saved,
    with_chunk,
    xmp,
)

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
    for kind in EXIF_INTEGERS | EXIF_OTHERS:
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
    _check_turned(with_chunk(saved(PHOTO), kind, b"Raw profile type exif\0" + text))


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
