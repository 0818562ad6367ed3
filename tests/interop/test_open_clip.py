"""Folders of open_clip without open_clip: configs that are refused, files that are damaged."""

import dataclasses
import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from data_pipelines.images import ImagePreprocess
from tests.interop.tiny import kwargs, make_run
from vlp.interop.adapt import complete
from vlp.interop.export import export
from vlp.interop.load import load_run
from vlp.interop.open_clip import write
from vlp.interop.open_clip.model_cfg import fit, model_cfg

WEIGHTS = write.WEIGHTS


@pytest.fixture(scope="module")
def run():
    return make_run("clip", **{"text.activation": "quick_gelu"})


@pytest.fixture
def folder(run, tmp_path):
    """An export of ours, to be damaged."""
    write.write(run, tmp_path)
    return tmp_path


def change(folder, **settings):
    """Writes settings such as vision_cfg=dict(pool_type="none") into the config."""
    path = folder / "open_clip_config.json"
    sections = json.loads(path.read_text())
    for key, value in settings.items():
        model = sections["model_cfg"]
        model[key] = {**model[key], **value} if isinstance(value, dict) else value
    path.write_text(json.dumps(sections))


def test_what_is_written_is_read_again(run, folder):
    again = load_run(folder)
    images = np.random.default_rng(0).integers(0, 256, (2, 24, 24, 3), np.uint8)
    ours, theirs = (r.model.encode_image(images).embedding for r in (run, again))
    np.testing.assert_array_equal(ours, theirs)
    assert again.card["objective"] == "clip"


def test_a_file_of_weights_finds_the_config_beside_it(folder):
    (folder / WEIGHTS).rename(folder / "epoch_9.safetensors")
    assert load_run(folder / "epoch_9.safetensors").model.kwargs["embed_dim"] == 20
    with pytest.raises(ValueError, match="open_clip_model.safetensors"):
        load_run(folder)


REFUSED = {
    "hf_text": (dict(text_cfg={"hf_model_name": "roberta-base"}), "roberta-base"),
    "timm": (dict(vision_cfg={"timm_model_name": "convnext_base"}), "vit_base_patch16_clip_224"),
    "qk_norm": (dict(text_cfg={"qk_norm": True}), "qk_norm"),
    "no_pool": (dict(vision_cfg={"pool_type": "none"}), "pool_type.*'tok' or 'avg'"),
    "two_poolers": (dict(vision_cfg={"attentional_pool": "cascade"}), "cascade"),
    "unknown": (dict(vision_cfg={"rope": True}), "'rope', unknown"),
    "sides": (dict(vision_cfg={"image_size": [24, 16]}), "square"),
    "class": (dict(text_cfg={"embed_cls": True}), "custom_text"),
    "no_section": (dict(text_cfg=None), "text_cfg must be a JSON object"),
    "words": (dict(vision_cfg={"width": "wide"}), "TypeError"),
    "text_pool": (dict(text_cfg={"pool_type": "none"}), "'argmax' or"),
    "activation": (dict(text_cfg={"act_kwargs": {"approximate": "tanh"}}), "quick_gelu"),
    "mode": (dict(text_cfg={"tokenizer_mode": "clips"}), "no file.*clips"),
    "decoder": (dict(multimodal_cfg={}), "custom_text"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_config_that_cannot_be_is_refused_by_setting(case, folder):
    settings, message = REFUSED[case]
    change(folder, **settings) if settings.get("multimodal_cfg") != {} else _decoder(folder)
    with pytest.raises(ValueError, match=message):
        load_run(folder)


WRONG = [None, "x", -1, 1.5, {}, [1, 2], 10**9, float("inf")]


@pytest.mark.parametrize("setting", ["layers", "width", "heads", "vocab_size", "context_length"])
@pytest.mark.parametrize("value", WRONG, ids=str)
def test_a_number_of_another_kind_is_refused_at_once(setting, value, folder):
    change(folder, text_cfg={setting: value} if value != {} else {setting: {"a": 1}})
    with pytest.raises(ValueError):
        load_run(folder)


def _decoder(folder):
    path = folder / "open_clip_config.json"
    sections = json.loads(path.read_text())
    sections["model_cfg"]["multimodal_cfg"] = {"width": 16, "heads": 2, "layers": 1}
    path.write_text(json.dumps(sections))


def test_a_folder_without_its_tokenizer_says_which_is_missing(folder):
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ValueError, match="the config names tiny"):
        load_run(folder)
    assert load_run(folder, tokenizer="none").tokenizer is None


def test_a_shape_that_does_not_fit_names_the_tensor_and_both_shapes(folder):
    change(folder, text_cfg={"vocab_size": 400})
    with pytest.raises(ValueError, match=r"token_embedding.weight.*\(400, 16\).*\(420, 16\)"):
        load_run(folder, tokenizer="none")


DAMAGES = {
    "missing": (lambda t: t.pop("visual.proj"), "visual.proj"),
    "nan": (lambda t: t["ln_final.bias"].fill(np.nan), "ln_final.bias.*16 NaN"),
    "infinite": (lambda t: t["logit_scale"].fill(np.inf), "logit_scale"),
    "more": (lambda t: t.update(extra=np.zeros(3, np.float32)), "extra"),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_damaged_tensors_are_refused_by_name(case, folder):
    damage, message = DAMAGES[case]
    tensors = load_file(folder / WEIGHTS)
    damage(tensors)
    save_file(tensors, folder / WEIGHTS)
    with pytest.raises(ValueError, match=message):
        load_run(folder)


def test_a_truncated_file_is_refused(folder):
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes()[:-64])
    with pytest.raises(ValueError, match="whole safetensors"):
        load_run(folder)


CANNOT = {
    "siglip": ("siglip", {}, "none there has image_size=24"),
    "mean": ("clip", {"text.pool": "mean"}, "text.pool='mean'"),
    "mixed": ("clip", {}, "text.activation='gelu'"),
    "relu": ("clip", {"image.activation": "relu", "text.activation": "relu"}, "image.activation"),
    "pooler": ("clip", {"text.activation": "quick_gelu", "image.pooler": True}, "image.pooler"),
}


@pytest.mark.parametrize("pool", ["cascade", "parallel"])
@pytest.mark.parametrize("class_token", [True, None])
def test_the_two_poolers_of_coca_s_paper_are_refused_by_name(pool, class_token):
    towers = kwargs("clip")
    queries = dict(width=24, num_queries=2, num_heads=3)
    image = towers["image"] | dict(pool=pool, queries=queries, class_token=class_token)
    with pytest.raises(ValueError, match=f"image.pool='{pool}' .accepted: .*'"):
        fit(complete(towers | dict(image=image, decoder=dict(depth=1, num_heads=3))), {})


def test_a_decoder_with_one_perceptron_a_layer_is_refused_by_name():
    towers = kwargs("clip")
    decoder = dict(depth=1, num_heads=3, norm_eps=1e-5, mlp_between=False)
    text = towers["text"] | dict(pool="cls_last")
    with pytest.raises(ValueError, match="decoder.mlp_between must be True for open_clip"):
        model_cfg(complete(towers | dict(text=text, decoder=decoder)))


@pytest.mark.parametrize("case", CANNOT)
def test_a_model_that_open_clip_cannot_hold_is_refused_by_setting(case, tmp_path):
    kind, changes, message = CANNOT[case]
    with pytest.raises(ValueError, match=message):
        export(make_run(kind, **changes), tmp_path / "out", to="open_clip")
    assert not list(tmp_path.iterdir())


def test_a_tower_of_another_kind_is_named():
    towers = kwargs("siglip")
    image = dict(kind="naflex", num_patches=9, patch_size=8, width=24, depth=1, num_heads=3)
    with pytest.raises(ValueError, match="got image.kind='naflex' .accepted: 'vit' or 'resnet'.;"):
        fit(complete(towers | {"image": image}), {})


def test_one_tower_is_refused(run, tmp_path):
    with pytest.raises(ValueError, match='towers must be "both"'):
        export(run, tmp_path / "out", to="open_clip", towers="image")


def test_a_transform_that_open_clip_has_not_is_refused(run, tmp_path):
    preprocess = ImagePreprocess(24, interpolation="lanczos")
    with pytest.raises(ValueError, match="preprocess.interpolation must be 'bicubic' or"):
        write.write(dataclasses.replace(run, preprocess=preprocess), tmp_path)
