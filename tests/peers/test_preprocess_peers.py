"""Evaluation preprocessing against transformers', open_clip's and timm's on odd images."""

import io

import numpy as np
import pytest
import torch
import transformers
from open_clip.transform import image_transform
from PIL import Image
from timm.data.transforms_factory import transforms_imagenet_eval
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.siglip2.image_processing_pil_siglip2 import Siglip2ImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from data_pipelines.decode import decode
from data_pipelines.images import ImagePreprocess
from data_pipelines.naflex import NaflexPreprocess
from tests.odd_images import as_it_is, by_the_rules, odd_images, picture
from tests.peers.tokenizing import write_json
from vlp.interop.hf.processors import preprocess_of, processor_config, read_preprocess

IMAGES = odd_images()
# What only an opened file tells, or what the peers resize before it is RGB; see images.py.
RULED = {"turned jpeg", "sixteen bits"}
RULED_OPEN_CLIP = RULED | {
    "cmyk", "bits", "rgba", "grey with alpha", "palette", "palette with transparency"
}  # fmt: skip
PLAIN = dict(do_rescale=False, do_normalize=False)


def check(ours, theirs, name):
    """One level of 255 on 95 % of all values, three on all."""
    levels = np.abs(ours.astype(np.float64) - theirs)
    assert ours.shape == theirs.shape, name
    assert np.mean(levels <= 1) >= 0.95 and levels.max() <= 3, (name, levels.max())


def opened(data, name, ruled):
    return by_the_rules(data) if name in ruled else as_it_is(data)


TRANSFORMERS = {
    "CLIP": (CLIPImageProcessorPil, dict(size={"shortest_edge": 32}, crop_size=32)),
    "CLIP with borders cut off": (
        CLIPImageProcessorPil,
        dict(size={"shortest_edge": 40}, crop_size={"height": 33, "width": 33}),
    ),
    "CLIP with black borders": (
        CLIPImageProcessorPil,
        dict(size={"shortest_edge": 20}, crop_size={"height": 33, "width": 33}, resample=2),
    ),
    "CLIP of version 4.20": (CLIPImageProcessorPil, dict(size=32, crop_size=32, resample=1)),
    "SigLIP": (SiglipImageProcessorPil, dict(size={"height": 32, "width": 32})),
    "ViT": (ViTImageProcessorPil, dict(size={"height": 31, "width": 31})),
    "ViT, nearest": (ViTImageProcessorPil, dict(size=32, resample=0)),
}


@pytest.mark.parametrize("case", TRANSFORMERS)
def test_pixels_are_those_of_transformers(case, tmp_path):
    kind, settings = TRANSFORMERS[case]
    peer = kind(**settings)
    peer.save_pretrained(tmp_path)
    ours = read_preprocess(tmp_path)
    # ViT's converts nothing by itself.
    convert = dict(do_convert_rgb=True)
    for name, data in IMAGES.items():
        theirs = peer(opened(data, name, RULED), return_tensors="np", **PLAIN, **convert)
        check(ours(data)[0].transpose(2, 0, 1), theirs["pixel_values"][0], name)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (transformers.CLIPImageProcessor, dict(size={"shortest_edge": 40}, crop_size=32)),
        (transformers.SiglipImageProcessor, dict(size={"height": 32, "width": 32})),
    ],
)
def test_pixels_are_those_of_transformers_torch_backend(kind, settings):
    peer = kind(**settings)
    ours = preprocess_of(peer.to_dict())
    for name, data in IMAGES.items():
        theirs = peer(opened(data, name, RULED), return_tensors="np", **PLAIN)
        check(ours(data)[0].transpose(2, 0, 1), theirs["pixel_values"][0], name)


def test_normalised_pixels_are_those_of_transformers(tmp_path):
    peer = CLIPImageProcessorPil()
    peer.save_pretrained(tmp_path)
    ours = read_preprocess(tmp_path)
    data = IMAGES["wide"]
    theirs = peer(as_it_is(data), return_tensors="np")["pixel_values"][0]
    normalised = (ours(data)[0] / 255.0 - ours.mean) / ours.std
    np.testing.assert_allclose(normalised.transpose(2, 0, 1), theirs, atol=1e-5)


@pytest.mark.parametrize("rows", [True, False])
def test_long_pictures_are_those_of_transformers(rows):
    peer = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=32)
    ours = preprocess_of(peer.to_dict())
    for short, long in ((1, 777), (3, 2000), (40, 5000), (7, 1111), (50, 801)):
        array = picture(short, long, seed=long)
        array = array if rows else np.ascontiguousarray(array.swapaxes(0, 1))
        image = Image.fromarray(array)
        theirs = peer(image, return_tensors="np", **PLAIN)["pixel_values"][0]
        check(ours(image)[0].transpose(2, 0, 1), theirs, (short, long))


OPEN_CLIP = {
    "shortest": dict(resize_mode="shortest"),
    "shortest, bilinear": dict(resize_mode="shortest", interpolation="bilinear"),
    "longest": dict(resize_mode="longest"),
    "longest, grey": dict(resize_mode="longest", fill_color=124),
    "squash": dict(resize_mode="squash"),
}


def tensor_levels(tensor):
    return tensor.numpy().astype(np.float64).transpose(1, 2, 0) * 255


@pytest.mark.parametrize("size", [32, 33])
@pytest.mark.parametrize("case", OPEN_CLIP)
def test_pixels_are_those_of_open_clip(case, size):
    settings = OPEN_CLIP[case]
    peer = image_transform(size, is_train=False, mean=(0, 0, 0), std=(1, 1, 1), **settings)
    fill = settings.get("fill_color", 0)
    ours = ImagePreprocess(
        size,
        resize=settings["resize_mode"],
        interpolation=settings.get("interpolation", "bicubic"),
        rounding="even",
        fill=(fill, fill, fill),
    )
    for name, data in IMAGES.items():
        if settings["resize_mode"] == "longest" and name in ("one row", "one column"):
            continue  # open_clip fails on them; we leave one pixel
        theirs = tensor_levels(peer(opened(data, name, RULED_OPEN_CLIP)))
        check(ours(data)[0], theirs, name)


@pytest.mark.parametrize("mode", ["center", "squash", "border"])
@pytest.mark.parametrize("share", [0.9, 1.0])
def test_pixels_are_those_of_timm(mode, share):
    size, mean = 32, (0.5, 0.4, 0.3)
    peer = transforms_imagenet_eval(
        size, crop_pct=share, crop_mode=mode, interpolation="bicubic", mean=mean, normalize=False
    )
    ours = ImagePreprocess(
        size,
        resize={"center": "shortest", "squash": "squash", "border": "longest"}[mode],
        resize_size=int(size / share),
        rounding="even",
        fill=[round(255 * value) for value in mean],
    )
    for name, data in IMAGES.items():
        if mode == "border" and name in ("one row", "one column"):
            continue  # timm fails on them; we leave one pixel
        theirs = peer(by_the_rules(data)).numpy().transpose(1, 2, 0)
        check(ours(data)[0], theirs, name)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_huge_picture_is_that_of_the_peers(kind):
    file = io.BytesIO()
    Image.fromarray(np.tile(picture(750, 1000), (8, 8, 1))).save(file, kind, compress_level=1)
    data = file.getvalue()
    assert as_it_is(data).size == (8000, 6000)
    peer = SiglipImageProcessorPil(size={"height": 64, "width": 64})
    theirs = peer(as_it_is(data), return_tensors="np", **PLAIN)["pixel_values"][0]
    check(preprocess_of(peer.to_dict())(data)[0].transpose(2, 0, 1), theirs, kind)


@pytest.mark.parametrize("resample", [2, 3])
def test_patches_are_those_of_siglip2(resample, tmp_path):
    peer = Siglip2ImageProcessorPil(patch_size=4, max_num_patches=50, resample=resample)
    peer.save_pretrained(tmp_path)
    ours = read_preprocess(tmp_path)
    assert isinstance(ours, NaflexPreprocess)
    for name, data in IMAGES.items():
        image = opened(data, name, RULED)
        theirs = peer(image, return_tensors="np", do_convert_rgb=True, **PLAIN)
        patches, mask, grid = ours(data)
        np.testing.assert_array_equal(mask, theirs["pixel_attention_mask"], err_msg=name)
        np.testing.assert_array_equal(grid, theirs["spatial_shapes"], err_msg=name)
        check(patches, theirs["pixel_values"], name)


@pytest.mark.parametrize(
    ("preprocess", "model_type", "expected"),
    [
        (ImagePreprocess(32, resize="shortest"), "clip", "CLIPImageProcessor"),
        (ImagePreprocess(32), "siglip", "SiglipImageProcessor"),
        (
            ImagePreprocess(32, resize_size=36, interpolation="lanczos"),
            "siglip",
            "CLIPImageProcessor",
        ),
        (ImagePreprocess(32, interpolation="bilinear"), "vit", "ViTImageProcessor"),
        (NaflexPreprocess(patch_size=4, max_num_patches=30), "siglip2", "Siglip2ImageProcessor"),
    ],
)
def test_what_we_write_opens_in_transformers(preprocess, model_type, expected, tmp_path):
    config = processor_config(preprocess, model_type)
    assert config["image_processor_type"] == expected
    write_json(tmp_path / "preprocessor_config.json", config)
    write_json(tmp_path / "config.json", {"model_type": model_type})
    peer = transformers.AutoImageProcessor.from_pretrained(tmp_path, backend="pil")
    image = Image.fromarray(picture(57, 91))
    theirs = peer(image, return_tensors="np", **PLAIN)["pixel_values"]
    ours = preprocess(image)
    ours = ours.patches if isinstance(preprocess, NaflexPreprocess) else ours.transpose(0, 3, 1, 2)
    check(ours, theirs, expected)


@pytest.mark.parametrize("name", ["large", "rgba", "grey", "turned jpeg"])
def test_tensors_of_torch_are_the_picture_in_every_layout(name):
    data = odd_images()[name]
    decoded = decode(data)
    if (decoded[..., 3] == 255).all():
        decoded = np.ascontiguousarray(decoded[..., :3])
    last = torch.tensor(decoded)
    first = last.permute(2, 0, 1)
    preprocess = ImagePreprocess(24, resize="shortest")
    expected = preprocess(data)
    for way in (last, first, first.contiguous(), torch.stack([first]), torch.stack([last])):
        np.testing.assert_array_equal(preprocess(way), expected)
    np.testing.assert_array_equal(preprocess([first, data, last]), np.repeat(expected, 3, axis=0))


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.zeros(3, 9, 9), r"must be uint8, 0..255; got float32 \[3, 9, 9\]; hand over"),
        (torch.zeros(3, 9, 9, requires_grad=True), r"hand over x.detach\(\).cpu\(\)"),
        (torch.zeros(3, 9, 9, dtype=torch.bfloat16), "must be readable by NumPy, got torch.Tensor"),
        (torch.zeros(3, 9, 9, dtype=torch.uint8, device="meta"), "must be readable by NumPy"),
        (torch.zeros(3, 9, 3, dtype=torch.uint8), "may be read as channels first or last"),
    ],
)
def test_tensors_of_torch_that_are_no_pictures_are_refused(tensor, message):
    with pytest.raises(ValueError, match=message):
        ImagePreprocess(8)(tensor)
