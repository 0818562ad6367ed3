"""ONNX folders compute in onnxruntime what the model computes, under the names consumers expect."""

import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime
import pytest

from data_pipelines.images import ImagePreprocess
from tests.interop.readmes import WITHOUT_VLP, expected, printed
from tests.interop.tiny import make_run, model
from tests.interop_targets.towers import CHANGES, run_of
from vlp.interop.export import export
from vlp.interop.onnx import precision as precision_module
from vlp.interop.onnx import write as target
from vlp.interop.samples import EXAMPLE, sample_images

NAMES = ("vision_model", "text_model", "model")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module", params=["clip", "siglip"])
def exported(request, tmp_path_factory):
    """A run and the folder it was exported to."""
    run, out = make_run(request.param), tmp_path_factory.mktemp("onnx") / "out"
    return run, out, export(run, out, to="onnx")


def session(folder, name):
    return onnxruntime.InferenceSession(
        str(folder / "onnx" / f"{name}.onnx"), providers=["CPUExecutionProvider"]
    )


def described(values):
    return [(value.name, value.type, value.shape) for value in values]


def images_of(run, count):
    size = run.model.image.image_size
    images = np.random.default_rng(1).integers(0, 256, (count, size, size, 3), np.uint8)
    return images, np.asarray(run.model.normalise(jnp.asarray(images))).transpose(0, 3, 1, 2)


@pytest.mark.parametrize("name", CHANGES)
def test_every_kind_of_tower_passes_the_gate_at_two_batch_sizes(name, tmp_path):
    report = export(run_of(name), tmp_path / "out", to="onnx")
    assert report["verified"] and report["verified_with"] == "onnxruntime"
    assert report["batch_sizes"] == [1, 5] and report["token_ids"]["unequal"] == []
    assert set(report["outputs"]) == {
        *("image_embeds", "text_embeds"),
        *("joint/logits", "joint/image_embeds", "joint/text_embeds"),
    }
    for output, by_batch in report["outputs"].items():
        error = "max_relative_difference" if output == "joint/logits" else "max_abs_difference"
        assert all(result[error] < 1e-5 for result in by_batch.values())


def test_inputs_and_outputs_are_those_of_optimum_with_the_embedding_first(exported):
    run, folder, _ = exported
    size, width = run.model.image.image_size, run.model.kwargs["embed_dim"]
    image, text = session(folder, "vision_model"), session(folder, "text_model")
    assert described(image.get_inputs()) == [
        ("pixel_values", "tensor(float)", ["batch", 3, size, size])
    ]
    assert described(text.get_inputs()) == [("input_ids", "tensor(int64)", ["batch", "sequence"])]
    assert described(image.get_outputs())[0] == ("image_embeds", "tensor(float)", ["batch", width])
    assert described(text.get_outputs())[0] == ("text_embeds", "tensor(float)", ["batch", width])
    more = ["pooler_output"] if run.card["objective"] == "siglip" else []
    for names in (image.get_outputs(), text.get_outputs()):
        assert [value.name for value in names][1:] == ["last_hidden_state", *more]


def test_the_file_of_both_towers_has_the_names_and_axes_of_optimum(exported):
    run, folder, _ = exported
    size, width = run.model.image.image_size, run.model.kwargs["embed_dim"]
    joint = session(folder, "model")
    images, texts = "image_batch_size", "text_batch_size"
    ids = [texts, "sequence_length"]
    clip = run.card["objective"] == "clip"
    assert described(joint.get_inputs()) == [
        ("input_ids", "tensor(int64)", ids),
        ("pixel_values", "tensor(float)", [images, 3, size, size]),
        *([("attention_mask", "tensor(int64)", ids)] if clip else []),
    ]
    assert described(joint.get_outputs()) == [
        ("logits_per_image", "tensor(float)", [images, texts]),
        ("logits_per_text", "tensor(float)", [texts, images]),
        ("text_embeds", "tensor(float)", [texts, width]),
        ("image_embeds", "tensor(float)", [images, width]),
    ]


def test_every_image_meets_every_text_and_what_the_mask_hides_is_padding(tmp_path):
    run = run_of("mean pooling and bert")  # where padding makes a difference
    target.write(run, tmp_path)
    images, pixels = images_of(run, 2)
    ids = run.tokenize(["a red heart", "cat", ""]).astype(np.int64)
    mask = (ids != run.tokenizer.pad_id).astype(np.int64)
    littered = np.where(mask == 0, 7, ids)
    expected = run.model.logits(
        run.model.encode_image(images).embedding, run.model.encode_text(ids).embedding
    )
    given = {"input_ids": littered, "pixel_values": pixels, "attention_mask": mask}
    names = ["logits_per_image", "logits_per_text"]
    per_image, per_text = session(tmp_path, "model").run(names, given)
    np.testing.assert_allclose(per_image, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(per_text, per_image.T)


def test_without_the_file_of_both_towers_the_weights_are_there_once(exported, tmp_path):
    run, folder, _ = exported
    report = export(run, tmp_path / "out", to="onnx", joint=False)
    assert set(report["outputs"]) == {"image_embeds", "text_embeds"}
    names = {path.name for path in (tmp_path / "out" / "onnx").iterdir()}
    assert names == {"vision_model.onnx", "text_model.onnx"}

    def bytes_of(names):
        return sum((folder / "onnx" / f"{name}.onnx").stat().st_size for name in names)

    assert 0.9 < bytes_of(["model"]) / bytes_of(["vision_model", "text_model"]) < 1.1


def test_the_folder_holds_the_files_that_consumers_look_for(exported):
    run, folder, _ = exported
    config = json.loads((folder / "config.json").read_text())
    assert config["model_type"] == run.card["objective"]
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    assert tokenizer["model_max_length"] == run.model.text.length
    for name in ("preprocessor_config.json", "tokenizer.json", "parity.json", "README.md"):
        assert (folder / name).is_file()


def test_last_hidden_state_is_what_transformers_calls_so(exported):
    # CLIP's image tower gives it before the last normalisation, SigLIP's after it.
    run, folder, _ = exported
    images, pixels = images_of(run, 3)
    ids = run.tokenize(["a red heart", "cat", ""])
    (theirs,) = session(folder, "vision_model").run(["last_hidden_state"], {"pixel_values": pixels})
    clip = run.card["objective"] == "clip"
    ours = run.model.image_hidden_states(images)[-1] if clip else run.model.encode_image(images)[1]
    np.testing.assert_allclose(theirs, ours, rtol=1e-5, atol=1e-5)
    inputs = {"input_ids": ids.astype(np.int64)}
    (theirs,) = session(folder, "text_model").run(["last_hidden_state"], inputs)
    np.testing.assert_allclose(theirs, run.model.encode_text(ids)[1], rtol=1e-5, atol=1e-5)


def test_embeddings_have_unit_norm_and_pooler_output_is_the_vector_before(tmp_path):
    run = make_run("siglip")
    target.write(run, tmp_path)
    _, pixels = images_of(run, 2)
    names = ["image_embeds", "pooler_output"]
    embeds, pooled = session(tmp_path, "vision_model").run(names, {"pixel_values": pixels})
    np.testing.assert_allclose(np.linalg.norm(embeds, axis=1), 1, rtol=1e-6)
    norms = np.linalg.norm(pooled, axis=1, keepdims=True)
    assert np.all(np.abs(norms - 1) > 0.1)
    np.testing.assert_allclose(pooled / norms, embeds, rtol=1e-5, atol=1e-6)


def test_texts_may_be_padded_to_any_length(exported):
    # Consumers pad a batch to its longest row, whatever the model was trained with.
    run, folder, _ = exported
    text = session(folder, "text_model")
    whole = run.tokenize(["a cat", "red"]).astype(np.int64)
    used = int((whole != run.tokenizer.pad_id).sum(1).max())
    assert used < whole.shape[1]
    (expected,) = text.run(["text_embeds"], {"input_ids": whole})
    for length in (used, used + 1):
        (got,) = text.run(["text_embeds"], {"input_ids": whole[:, :length]})
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_layers_are_unrolled_and_the_runtime_finds_the_patterns_it_has_kernels_for(
    exported, tmp_path
):
    run, folder, _ = exported
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    path = folder / "onnx" / "vision_model.onnx"
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    written = [node.op_type for node in onnx.load(path).graph.node]
    fused = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    assert not {"Loop", "Scan", "Einsum", "If"} & set(written)
    depth = run.model.image.stack.depth
    clip = run.card["objective"] == "clip"
    assert fused.count("LayerNormalization") == 2 * depth + 2
    assert fused.count("Softmax") == depth + (not clip)
    assert fused.count("QuickGelu" if clip else "FastGelu") == depth + (not clip)


@pytest.mark.parametrize("opset", [13, 18, 23])
def test_old_and_new_operator_sets_compute_the_same(opset, tmp_path):
    run = make_run("clip")
    report = export(run, tmp_path / "out", to="onnx", opset=opset)
    assert report["verified"]
    written = onnx.load(tmp_path / "out" / "onnx" / "text_model.onnx")
    assert [(one.domain, one.version) for one in written.opset_import] == [("", opset)]
    onnx.checker.check_model(written, full_check=True)


@pytest.mark.parametrize(
    "precision, suffix, share", [("fp16", "_fp16", 0.7), ("int8", "_quantized", 0.75)]
)
def test_lower_precisions_are_smaller_and_pass_with_their_own_tolerance(
    exported, precision, suffix, share, tmp_path
):
    run, full, _ = exported
    report = export(run, tmp_path / "out", to="onnx", precision=precision)
    assert report["verified"] and report["tolerance"]["least_cosine"] < 0.99999
    for name in NAMES:
        small = tmp_path / "out" / "onnx" / f"{name}{suffix}.onnx"
        assert small.stat().st_size < share * (full / "onnx" / f"{name}.onnx").stat().st_size
        kinds = {node.op_type for node in onnx.load(small).graph.node}
        assert ("MatMulInteger" in kinds) == (precision == "int8")
        types = {value.type for value in session(tmp_path / "out", small.stem).get_outputs()}
        assert types == {"tensor(float)"}
    assert len(list((tmp_path / "out" / "onnx").iterdir())) == len(NAMES)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_weights_too_large_for_one_file_lie_beside_it(precision, tmp_path, monkeypatch):
    monkeypatch.setattr(precision_module, "EXTERNAL_OVER", 10_000)
    report = export(make_run("clip"), tmp_path / "out", to="onnx", precision=precision)
    assert report["verified"]
    files = [f"{name}{target.SUFFIXES[precision]}.onnx" for name in NAMES]
    found = sorted(path.name for path in (tmp_path / "out" / "onnx").iterdir())
    assert found == sorted([*files, *(f"{file}_data" for file in files)])
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["transformers.js_config"] == {
        "use_external_data_format": dict.fromkeys(sorted(files), True)
    }


def test_the_readme_runs_as_written_without_vlp_or_jax(exported):
    run, folder, _ = exported
    without = WITHOUT_VLP + "sys.modules.update(jax=None)\n"
    np.testing.assert_allclose(printed(folder, before=without), expected(run, folder), 1e-4, 1e-6)


@pytest.mark.parametrize("towers", ["image", "text"])
def test_the_readme_of_one_tower_shows_its_embeddings(towers, tmp_path):
    run, out = make_run("clip", resize="shortest"), tmp_path / "out"
    export(run, out, to="onnx", towers=towers)
    np.testing.assert_allclose(printed(out), expected(run, out, towers=towers), 1e-4, 1e-6)


def test_the_readme_s_resize_is_the_model_s_for_any_picture(tmp_path):
    settings = dict(resize_size=30, interpolation="bilinear", mean=[0.4, 0.5, 0.6])
    for resize in ("squash", "shortest"):
        run = make_run("clip", image_mean=[0.4, 0.5, 0.6])
        used = ImagePreprocess(24, resize=resize, **settings)
        run = dataclasses.replace(run, preprocess=used)
        export(run, tmp_path / resize, to="onnx", towers="image")
        for picture in sample_images(24):
            picture.save(tmp_path / resize / EXAMPLE)  # in place of the heart
            found = printed(tmp_path / resize)
            np.testing.assert_allclose(
                found, expected(run, tmp_path / resize, towers="image"), 1e-4, 1e-6
            )
            if resize == "squash":
                break


def test_one_tower_alone_is_one_file(tmp_path):
    report = export(make_run("clip"), tmp_path / "out", to="onnx", towers="image")
    assert report["verified"] and set(report["outputs"]) == {"image_embeds"}
    assert [path.name for path in (tmp_path / "out" / "onnx").iterdir()] == ["vision_model.onnx"]
    assert not (tmp_path / "out" / "tokenizer.json").exists()


@pytest.mark.parametrize(
    "settings, message",
    [
        (dict(precision="bf16"), "precision must be one of fp32, fp16, int8, got 'bf16'"),
        (dict(opset=9), "opset must be from 13 to 23, got 9"),
        (dict(batch_size=1), "batch_size is no setting of this target"),
    ],
)
def test_unknown_settings_are_refused_and_nothing_is_written(settings, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        export(make_run("clip"), tmp_path / "out", to="onnx", **settings)
    assert not any(tmp_path.iterdir())


def test_a_graph_that_computes_something_else_is_not_handed_out(tmp_path, monkeypatch):
    from vlp.interop.onnx import arithmetic

    monkeypatch.setitem(arithmetic.UNARY, "logistic", "Tanh")
    with pytest.raises(ValueError, match="must compute what the model computes"):
        export(make_run("clip"), tmp_path / "out", to="onnx")
    assert not any(tmp_path.iterdir())


def test_images_of_several_shapes_are_refused_with_what_would_do(tmp_path):
    image = dict(kind="naflex", patch_size=4, num_patches=9, width=24, depth=1, num_heads=3)
    run = make_run("siglip")
    run = dataclasses.replace(run, model=model(run.model.kwargs | {"image": image}))
    with pytest.raises(ValueError, match="kind vit or resnet, got 'naflex'.*to=\"hf\""):
        export(run, tmp_path / "out", to="onnx")
    assert not any(tmp_path.iterdir())
    assert export(run, tmp_path / "out", to="onnx", towers="text")["verified"]
