"""Image processors of transformers, from all generations of their files and back to one."""

import json

import pytest

from data_pipelines.images import ImagePreprocess
from data_pipelines.naflex import NaflexPreprocess
from vlp.interop.hf.processors import preprocess_of, processor_config, read_preprocess

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
V4 = {
    "crop_size": {"height": 224, "width": 224},
    "do_center_crop": True,
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "feature_extractor_type": "CLIPFeatureExtractor",
    "image_mean": [0.1, 0.2, 0.3],
    "image_processor_type": "CLIPImageProcessor",
    "image_std": [0.4, 0.5, 0.6],
    "resample": 3,
    "rescale_factor": 0.00392156862745098,
    "size": {"shortest_edge": 256},
}


def folder_with(path, **files):
    for name, content in files.items():
        (path / f"{name}.json").write_text(json.dumps(content))
    return path


def test_the_file_of_version_4_is_read(tmp_path):
    read = read_preprocess(folder_with(tmp_path, preprocessor_config=V4))
    assert (read.size, read.resize, read.resize_size) == (224, "shortest", 256)
    assert (read.mean, read.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert (read.interpolation, read.rounding, read.fill) == ("bicubic", "down", (0, 0, 0))


def test_the_file_of_the_first_versions_is_read(tmp_path):
    # Sizes were numbers, and OpenAI's own first files say no more than this.
    old = {"feature_extractor_type": "CLIPFeatureExtractor", "size": 224, "crop_size": 224}
    read = read_preprocess(folder_with(tmp_path, preprocessor_config=old))
    assert (read.size, read.resize, read.mean) == (224, "shortest", CLIP_MEAN)
    vit = {"feature_extractor_type": "ViTFeatureExtractor", "size": 384, "resample": 2}
    read = read_preprocess(folder_with(tmp_path, preprocessor_config=vit))
    assert (read.size, read.resize, read.interpolation) == (384, "squash", "bilinear")


def test_the_nested_file_of_version_5_comes_first(tmp_path):
    nested = {"image_processor": V4 | {"image_processor_type": "CLIPImageProcessorFast"}}
    other = {"image_processor_type": "SiglipImageProcessor"}
    folder = folder_with(tmp_path, processor_config=nested, preprocessor_config=other)
    assert read_preprocess(folder).resize == "shortest"
    plain = {"processor_class": "SiglipProcessor"}  # of version 4: nothing nested
    folder = folder_with(tmp_path, processor_config=plain, preprocessor_config=other)
    assert read_preprocess(folder).resize == "squash"


def test_without_a_name_the_type_of_the_model_decides(tmp_path):
    folder = folder_with(
        tmp_path,
        preprocessor_config={"size": {"height": 256, "width": 256}},
        config={"model_type": "siglip"},
    )
    read = read_preprocess(folder)
    assert (read.size, read.mean, read.interpolation) == (256, (0.5, 0.5, 0.5), "bicubic")


def test_naflex_is_read(tmp_path):
    config = {"image_processor_type": "Siglip2ImageProcessor", "max_num_patches": 128}
    read = read_preprocess(folder_with(tmp_path, preprocessor_config=config))
    assert isinstance(read, NaflexPreprocess)
    assert (read.patch_size, read.max_num_patches, read.interpolation) == (16, 128, "bilinear")


def test_without_normalisation_pixels_are_only_scaled(tmp_path):
    read = preprocess_of(V4 | {"do_normalize": False})
    assert (read.mean, read.std) == ((0, 0, 0), (1, 1, 1))


def test_a_folder_without_a_configuration_has_none(tmp_path):
    assert read_preprocess(tmp_path) is None
    assert read_preprocess(folder_with(tmp_path, processor_config={"processor_class": "X"})) is None


@pytest.mark.parametrize(
    ("preprocess", "model_type"),
    [
        (ImagePreprocess(32, fill=(0, 0, 0)), "clip"),
        (ImagePreprocess(32, fill=(0, 0, 0)), "blip"),
        (ImagePreprocess(32, fill=(0, 0, 0), interpolation="bilinear"), "siglip"),
        (ImagePreprocess(32, fill=(0, 0, 0), resize_size=40), "siglip"),
        (ImagePreprocess(32, fill=(0, 0, 0), resize="shortest", resize_size=40), "vit"),
        (ImagePreprocess(32, fill=(0, 0, 0), interpolation="lanczos"), "vision-text-dual-encoder"),
        (ImagePreprocess(32, fill=(0, 0, 0), mean=(0.1, 0.2, 0.3), std=(1, 2, 3)), "vit"),
        (NaflexPreprocess(patch_size=14, max_num_patches=99, mean=(0.1, 0.2, 0.3)), "siglip2"),
    ],
)
def test_what_is_written_reads_as_what_it_was(preprocess, model_type):
    written = json.loads(json.dumps(processor_config(preprocess, model_type)))
    assert preprocess_of(written).to_dict() == preprocess.to_dict()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"do_resize": False}, "do_resize=False"),
        ({"do_rescale": False, "do_pad": True}, "do_rescale=False, do_pad=True"),
        ({"rescale_factor": 1.0}, "rescale_factor=1.0"),
        ({"resample": 9}, "resample=9"),
        ({"crop_size": {"height": 224, "width": 200}}, "must give squares"),
        ({"size": {"shortest_edge": 9, "longest_edge": 12}}, "must give squares"),
        ({"do_center_crop": False}, "must give squares"),
        ({"image_processor_type": "FlavaImageProcessor"}, "must be one of CLIPImageProcessor"),
    ],
)
def test_steps_without_a_counterpart_are_named(changes, named):
    with pytest.raises(ValueError, match=named):
        preprocess_of(V4 | changes)


@pytest.mark.parametrize(
    ("preprocess", "model_type", "named"),
    [
        (ImagePreprocess(8, resize="longest"), "clip", "must be 'squash' or 'shortest'"),
        (ImagePreprocess(8, interpolation="bilinear_tensorflow"), "clip", "transformers has not"),
        (ImagePreprocess(8, resize_size=4), "clip", "fill must be black"),
        (ImagePreprocess(8), "bert", "model_type must be one of clip"),
    ],
)
def test_what_transformers_cannot_do_is_refused(preprocess, model_type, named):
    with pytest.raises(ValueError, match=named):
        processor_config(preprocess, model_type)


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "preprocessor_config.json").write_text("{")
    with pytest.raises(ValueError, match="preprocessor_config.json must be JSON"):
        read_preprocess(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text("[]")
    with pytest.raises(ValueError, match="must be a JSON object, got list"):
        read_preprocess(tmp_path)
