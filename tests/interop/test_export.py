import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from data_pipelines.tokens import clip_tokenizer
from tests.interop.tiny import SIZE, make_run, save_run
from vlp.interop import parity
from vlp.interop.adapt import complete
from vlp.interop.export import export
from vlp.interop.hf import write as hf
from vlp.interop.hf.reference import ReferenceModel

FILES = {
    "README.md",
    "config.json",
    "example.png",
    "model.safetensors",
    "parity.json",
    "preprocessor_config.json",
    "processor_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
}
LOW_PRECISION = {"image.dtype": "bfloat16", "text.dtype": "bfloat16", "image.remat": "full"}


@pytest.fixture(scope="module", params=["clip", "siglip"])
def exported(request, tmp_path_factory):
    run = make_run(request.param)
    folder = tmp_path_factory.mktemp(request.param) / "out"
    report = export(run, folder, check="numpy", metrics={"recall@1": 0.25})
    return run, folder, report


def read(folder, name):
    return json.loads((Path(folder) / name).read_text())


def test_a_folder_holds_what_transformers_asks_for(exported):
    run, folder, report = exported
    assert {path.name for path in folder.iterdir()} == FILES
    assert [path.name for path in folder.parent.iterdir()] == ["out"]
    assert read(folder, "parity.json") == report
    with safe_open(folder / "model.safetensors", framework="numpy") as file:
        assert file.metadata() == {"format": "pt"}
    assert len({path.stat().st_mode for path in folder.iterdir()}) == 1
    with_five, with_four = (
        read(folder, "processor_config.json"),
        read(folder, "preprocessor_config.json"),
    )
    assert with_five["image_processor"] == with_four
    assert with_four["size"] == {"height": SIZE, "width": SIZE}


def test_both_sides_agree_to_rounding(exported):
    _, _, report = exported
    assert report["verified"] and report["verified_with"] == "numpy reference"
    for by_batch in report["outputs"].values():
        assert set(by_batch) == {"batch 1", "batch 5"}
        for result in by_batch.values():
            assert result["worst_cosine"] > 1 - 1e-9
            assert result["max_abs_difference"] < 1e-5 * max(1, 1 / 0.07)
    assert report["pixels"]["max_levels"] < 1e-3
    assert report["token_ids"]["unequal"] == []
    assert re.fullmatch(
        r"verified with numpy reference: image_embeds within \de-0\d, text_embeds within .*",
        parity.summary(report),
    )


def test_special_ids_and_widths_are_in_every_place_that_is_read():
    run = make_run("clip")
    config = _written_config(run)
    parts = (config, config["text_config"], config["vision_config"])
    assert [part["projection_dim"] for part in parts] == [20, 20, 20]
    assert (config["text_config"]["eos_token_id"], config["text_config"]["pad_token_id"]) == (1, 0)
    siglip = _written_config(make_run("siglip"))
    assert siglip["text_config"]["projection_size"] == siglip["vision_config"]["hidden_size"]


def _written_config(run):
    return clip_or_siglip(run).config(complete(run.model.kwargs))


def clip_or_siglip(run):
    return hf.architecture(complete(run.model.kwargs))


def test_the_model_card_names_class_licence_attribution_and_figures(exported):
    run, folder, _ = exported
    text = (folder / "README.md").read_text()
    model_class = read(folder, "config.json")["architectures"][0]
    for expected in (
        "license: apache-2.0",
        f"{model_class}.from_pretrained",
        "| recall@1 | 0.25 |",
        "- Drawings: nobody.\n- Names: everybody.",
        "Transparent pictures",
    ):
        assert expected in text


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("clip", {"image.patch_bias": True, "image.position": "sincos2d"}),
        (
            "clip",
            {"image.activation": "silu", "text.activation": "relu", "text.mask_padding": True},
        ),
        ("clip", {"image_projection": "none", "embed_dim": 24, **LOW_PRECISION}),
        ("siglip", {"init_bias": None, "image.patch_bias": False, "text_projection": "linear"}),
        ("siglip", {"image.position": "sincos2d", "text_projection": "none", "text.width": 24}),
    ],
)
def test_equivalent_forms_are_exported_exactly(kind, change, tmp_path):
    report = export(make_run(kind, **change), tmp_path / "out", check="numpy")
    assert report["verified"]


@pytest.mark.parametrize(
    ("text", "pad_id"),
    [({}, 49407), ({"causal": False, "pool": "last"}, 0), ({"pool": "cls_last"}, 0)],
)
def test_clip_s_padding_stays_where_the_text_tower_sees_it(text, pad_id):
    ours = clip_tokenizer()
    theirs = hf.stand_in(ours, text=text)
    assert theirs.pad_id == pad_id
    texts = ["a red heart!", ""]
    end = (ours.encode(texts, 9) == ours.eos_id).argmax(axis=1)
    for row, expected, last in zip(
        theirs.encode(texts, 9), ours.encode(texts, 9), end, strict=True
    ):
        np.testing.assert_array_equal(row[: last + 1], expected[: last + 1])
        assert set(row[last + 1 :].tolist()) == {pad_id}


def test_pictures_cut_out_of_the_middle_are_the_same_on_both_sides(tmp_path):
    for kind in ("clip", "siglip"):
        run = make_run(kind, resize="shortest")
        report = export(run, tmp_path / kind, check="numpy")
        assert report["pixels"]["max_levels"] < 1e-3
        written = read(tmp_path / kind, "preprocessor_config.json")
        assert written["size"] == {"shortest_edge": SIZE} and written["do_center_crop"]


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("clip", {"image.pool": "mean"}, r"CLIPModel, got image.pool='mean' \(accepted: 'cls'\)"),
        ("clip", {"image.pre_norm": False}, r"image.pre_norm=False \(accepted: True\)"),
        ("clip", {"init_bias": -10.0}, r"init_bias=-10.0 \(accepted: None\)"),
        ("clip", {"text.causal": False}, r"text.causal=False \(accepted: True\)"),
        ("clip", {"text.pool": "last"}, r"text.pool='last' \(accepted: 'eot' or 'argmax'\)"),
        ("clip", {"text_projection": "linear_bias"}, r"text_projection='linear_bias'"),
        ("clip", {"text.eos_id": 2}, r"eos_id must be another than 2, .* another pooling"),
        ("siglip", {"text.causal": True}, r"SiglipModel, got text.causal=True"),
        ("siglip", {"text.mask_padding": True}, r"text.mask_padding=True \(accepted: False\)"),
        ("siglip", {"image_projection": "linear"}, r"image_projection='linear'"),
        ("siglip", {"image.pre_norm": True, "text.pool": "mean"}, "image.pre_norm=True.*text.pool"),
    ],
)
def test_a_model_that_cannot_be_expressed_is_refused_by_setting(kind, change, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        export(make_run(kind, **change), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_preprocessing_that_cannot_be_expressed_is_refused(tmp_path):
    with pytest.raises(ValueError, match="must be 'squash' or 'shortest', got 'longest'"):
        export(make_run("clip", resize="longest"), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def damage_weight(tensors):
    tensors["vision_model.encoder.layers.1.mlp.fc1.weight"][:4] *= -1
    return tensors


def damage_nan(tensors):
    tensors["text_projection.weight"][0, 0] = np.nan
    return tensors


def damage_scale(tensors):
    tensors["logit_scale"] += np.float32(0.01)
    return tensors


def damage_swap(tensors):
    name = "text_model.encoder.layers.0.self_attn.{}_proj.weight"
    tensors[name.format("q")], tensors[name.format("v")] = (
        tensors[name.format("v")],
        tensors[name.format("q")],
    )
    return tensors


def damage_shape(tensors):
    tensors["logit_scale"] = tensors["logit_scale"].reshape(1)
    return tensors


def damage_missing(tensors):
    del tensors["vision_model.pre_layrnorm.bias"]
    return tensors


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_weight, "image_embeds have a cosine of -?0"),
        (damage_nan, "text_embeds have a cosine of nan"),
        (damage_scale, "logits differ by 1.0"),
        (damage_swap, "text_embeds have a cosine of -?0"),
        (damage_shape, r"logit_scale must have shape \(\) .* has \(1,\)"),
        (damage_missing, "1 are missing, such as vision_model.pre_layrnorm.bias"),
    ],
)
def test_without_parity_there_is_no_folder(damage, message, tmp_path, monkeypatch):
    whole = hf.write_tensors
    monkeypatch.setattr(hf, "write_tensors", lambda *given: damage(whole(*given)))
    with pytest.raises(ValueError, match=message):
        export(make_run("clip"), tmp_path / "out", check="numpy")
    assert not list(tmp_path.iterdir())


def test_other_pixels_or_ids_fail_the_gate(tmp_path, monkeypatch):
    class Elsewhere(ReferenceModel):
        def pixels(self, images):
            return super().pixels(images) + 0.05

        def ids(self, texts):
            return super().ids([text.upper() + "!" for text in texts])

    run = make_run("clip")
    hf.write(run, tmp_path, metrics={})
    with pytest.raises(ValueError, match="pixels differ by up to 6.4 levels.*other token ids"):
        parity.check(run, Elsewhere(tmp_path))


def test_an_existing_folder_is_kept_unless_it_is_an_export_to_overwrite(tmp_path):
    run = make_run("clip")
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "thesis.tex").write_text("years")
    with pytest.raises(ValueError, match="must not exist yet"):
        export(run, taken, check="numpy")
    with pytest.raises(ValueError, match="only an earlier export is overwritten"):
        export(run, taken, check="numpy", overwrite=True)
    assert (taken / "thesis.tex").read_text() == "years"

    out = tmp_path / "out"
    out.mkdir()  # empty: nothing to lose
    export(run, out, check="numpy")
    first = load_file(out / "model.safetensors")["logit_scale"]
    with pytest.raises(ValueError, match="must not exist yet"):
        export(run, out, check="numpy")
    export(make_run("clip", seed=1), out, check="numpy", overwrite=True)
    assert load_file(out / "model.safetensors")["logit_scale"] != first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "taken"]


def test_a_failed_overwrite_keeps_the_earlier_export(tmp_path, monkeypatch):
    out = tmp_path / "out"
    export(make_run("clip"), out, check="numpy")
    before = (out / "model.safetensors").read_bytes()
    whole = hf.write_tensors
    monkeypatch.setattr(hf, "write_tensors", lambda *given: damage_scale(whole(*given)))
    with pytest.raises(ValueError, match="logits differ"):
        export(make_run("clip", seed=1), out, check="numpy", overwrite=True)
    assert (out / "model.safetensors").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_run_on_disk_exports_the_average_of_its_weights(tmp_path):
    average = make_run("clip", seed=1)
    folder = save_run(make_run("clip"), tmp_path / "run", average=average)
    for weights, name in (("auto", "ema"), ("params", "params")):
        report = export(folder, tmp_path / weights, weights=weights, check="numpy")
        assert (report["weights"], report["step"]) == (name, 1)
    tensors = load_file(tmp_path / "auto" / "model.safetensors")
    np.testing.assert_array_equal(tensors["logit_scale"], average.model.log_scale[...])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"to": "onyx"}, "to must be one of hf, open_clip, .*, got 'onyx'"),
        ({"check": "hope"}, "check must be one of auto, transformers, numpy, got 'hope'"),
    ],
)
def test_unknown_choices_list_the_known(settings, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        export(make_run("clip"), tmp_path / "out", **settings)


def test_a_tokenizer_or_size_that_is_not_the_models_is_refused(tmp_path):
    run = make_run("clip")
    for change, message in (
        ({"text.vocab_size": 300}, "at most the model's 300 pieces"),
        ({"text.length": 10}, "tokenizer.length must be at most the model's text length 10"),
        ({"text.eos_id": 5}, "end token must be the model's eos_id 5, got 1"),
        ({"image_mean": [0.1, 0.1, 0.1]}, "must normalise alike"),
    ):
        with pytest.raises(ValueError, match=message):
            export(make_run("clip", **change), tmp_path / "out", check="numpy")
    hf.write(run, tmp_path, metrics={})
    tensors = load_file(tmp_path / "model.safetensors")
    save_file({"extra": np.zeros(1, np.float32), **tensors}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="1 such tensors, first extra"):
        ReferenceModel(tmp_path)


@pytest.mark.parametrize(("to", "package"), [("onnx", "onnx"), ("tflite", "tensorflow")])
def test_a_package_that_is_missing_is_named_before_a_model_is_read(
    to, package, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr("vlp.interop.export.load_run", lambda *_, **__: pytest.fail("was read"))
    with pytest.raises(ValueError, match=f"an export to {to} needs {package}, which is not inst"):
        export("somewhere", tmp_path / "out", to=to)
