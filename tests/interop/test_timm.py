"""Folders of timm without timm: what is refused, and by which name."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.interop.tiny import make_run
from vlp.interop.export import export
from vlp.interop.load import load_run
from vlp.interop.timm import write


@pytest.fixture(scope="module")
def run():
    return make_run("clip")


@pytest.fixture
def folder(run, tmp_path):
    """An export of ours, to be damaged."""
    write.write(run, tmp_path)
    return tmp_path


def change(folder, **sections):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    for key, value in sections.items():
        config[key] = {**config[key], **value} if isinstance(value, dict) else value
    path.write_text(json.dumps(config))


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_what_is_written_is_read_again(kind, tmp_path):
    run = make_run(kind)
    write.write(run, tmp_path)
    again = load_run(tmp_path)
    images = np.random.default_rng(0).integers(0, 256, (2, 24, 24, 3), np.uint8)
    ours, theirs = (r.model.encode_image(images).embedding for r in (run, again))
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert again.model.text is None
    assert again.preprocess.size == run.preprocess.size
    assert (again.preprocess.resize, again.preprocess.resize_size) == ("squash", 24)


REFUSED = {
    "architecture": (dict(architecture="convnext_base"), "vit_base_patch16_siglip_224"),
    "registers": (dict(model_args={"reg_tokens": 4}), "reg_tokens=4"),
    "no_qkv_bias": (dict(model_args={"qkv_bias": False}), "qkv_bias=False"),
    "unknown": (dict(model_args={"rope": True}), "rope=True"),
    "pool": (dict(model_args={"global_pool": "max"}), "global_pool.*'max'"),
    "activation": (dict(model_args={"act_layer": "swish"}), "act_layer.*'swish'"),
    "sides": (dict(model_args={"img_size": [24, 16]}), "img_size must be square"),
    "crop": (dict(pretrained_cfg={"crop_mode": "five"}), "crop_mode.*'five'"),
    "shape": (
        dict(model_args={"embed_dim": 30}),
        r"cls_token must have shape \(1, 1, 30\).*has \(1, 1, 24\)",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_config_that_cannot_be_is_refused_by_setting(case, folder):
    settings, message = REFUSED[case]
    change(folder, **settings)
    with pytest.raises(ValueError, match=message):
        load_run(folder)


DAMAGES = {
    "missing": (lambda t: t.pop("norm.weight"), "norm.weight"),
    "nan": (lambda t: t["head.bias"].fill(np.nan), "head.bias.*20 NaN"),
    "more": (lambda t: t.update({"reg_token": np.zeros(3, np.float32)}), "reg_token"),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_damaged_tensors_are_refused_by_name(case, folder):
    damage, message = DAMAGES[case]
    tensors = load_file(folder / "model.safetensors")
    damage(tensors)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(ValueError, match=message):
        load_run(folder)


def test_a_truncated_file_is_refused(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-64])
    with pytest.raises(ValueError, match="whole safetensors"):
        load_run(folder)


def test_a_folder_without_weights_is_refused(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="model.safetensors"):
        load_run(folder)


def test_a_text_tower_is_refused(run, tmp_path):
    with pytest.raises(ValueError, match="no text towers"):
        export(run, tmp_path / "out", to="timm", towers="text")


def test_a_norm_that_timm_has_not_is_refused(tmp_path):
    with pytest.raises(ValueError, match="image.norm_eps=0.001"):
        write.write(make_run("clip", **{"image.norm_eps": 1e-3}), tmp_path)
