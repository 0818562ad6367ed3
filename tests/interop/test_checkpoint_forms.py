"""Weights as training and other programs leave them: read as what they are, or refused by name."""

import json
import shutil
import sys
import types

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import vlp
from tests.interop.tiny import make_run
from vlp.interop import containers
from vlp.interop.hf import write as hf
from vlp.interop.load import load_run
from vlp.interop.loaded import params_of
from vlp.interop.open_clip import architectures
from vlp.interop.open_clip import write as open_clip
from vlp.interop.weights import open_tensors

HF, OPEN_CLIP = "model.safetensors", "open_clip_model.safetensors"


@pytest.fixture(scope="module")
def run():
    return make_run("clip", **{"text.activation": "quick_gelu"})


@pytest.fixture(scope="module")
def whole(run, tmp_path_factory):
    """The same model as folders of two stacks."""
    folder = tmp_path_factory.mktemp("whole")
    for stack, module in (("hf", hf), ("open_clip", open_clip)):
        (folder / stack).mkdir()
        module.write(run, folder / stack, metrics={})
    return folder


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole / "hf", tmp_path / "hf")


def change(path, edit):
    tensors = load_file(path)
    save_file(edit(tensors) or tensors, path)


def assert_same(loaded, run):
    ours, theirs = params_of(loaded.model), params_of(run.model)
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name], err_msg=name)


WRAPPED = {
    "DataParallel": "module.{}",
    "torch.compile": "_orig_mod.{}",
    "both": "module._orig_mod.{}",
    "the other way": "_orig_mod.module.{}",
    "Lightning": "model.{}",
    "all of them": "model.module._orig_mod.{}",
}


@pytest.mark.parametrize("stack", ["hf", "open_clip"])
@pytest.mark.parametrize("wrapper", WRAPPED)
def test_what_training_puts_around_a_model_is_taken_off(wrapper, stack, whole, run, tmp_path):
    folder = shutil.copytree(whole / stack, tmp_path / stack)
    file = folder / (HF if stack == "hf" else OPEN_CLIP)
    change(file, lambda tensors: {WRAPPED[wrapper].format(k): v for k, v in tensors.items()})
    assert_same(load_run(folder), run)


def test_a_part_of_a_model_that_was_compiled_is_found_too(folder, run):
    part = "vision_model."
    change(
        folder / HF,
        lambda tensors: {
            k.replace(part, f"{part}_orig_mod.module."): v for k, v in tensors.items()
        },
    )
    assert_same(load_run(folder), run)


def test_a_tensor_with_and_without_a_wrapper_is_no_guess(folder):
    change(folder / HF, lambda tensors: tensors.update({"module.logit_scale": np.ones((), "f4")}))
    with pytest.raises(ValueError, match="must hold each tensor once, .* are both logit_scale"):
        vlp.load(folder)


@pytest.mark.parametrize("variant", ["model.fp16.safetensors", "model.non_ema.safetensors"])
def test_a_variant_is_read_and_named(folder, run, variant):
    (folder / HF).rename(folder / variant)
    loaded = load_run(folder)
    assert_same(loaded, run)
    assert loaded.card["attribution"].endswith(f"from hf/{variant}.")


def test_of_several_variants_one_must_be_named(folder, run):
    change(folder / HF, lambda t: {name: array.astype(np.float16) for name, array in t.items()})
    shutil.copy(folder / HF, folder / "model.fp16.safetensors")
    (folder / HF).rename(folder / "model.bf16.safetensors")
    with pytest.raises(ValueError, match="found model.bf16.safetensors, model.fp16.safetensors"):
        vlp.load(folder)
    loaded = load_run(folder / "model.fp16.safetensors")
    half = run.model.text.tokens[...].astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(loaded.model.text.tokens[...], half)


def test_a_tensor_that_no_index_names_is_not_passed_over(folder):
    (folder / HF).rename(folder / "model-00001-of-00001.safetensors")
    file = "model-00001-of-00001.safetensors"
    names = list(load_file(folder / file))
    change(folder / file, lambda tensors: tensors.update(adapter=np.ones(3, np.float32)))
    index = {"weight_map": dict.fromkeys(names, file)}
    (folder / f"{HF}.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="found 1 such tensors, first adapter"):
        vlp.load(folder)


def test_an_index_whose_shard_is_missing_names_it(folder):
    (folder / HF).unlink()
    index = {"weight_map": {"x": "model-00001-of-00002.safetensors"}}
    (folder / f"{HF}.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="names model-00001-of-00002.safetensors, found no such"):
        vlp.load(folder)


def test_whole_numbers_are_no_weights(folder):
    name = "text_model.embeddings.position_embedding.weight"

    def quantised(tensors):
        tensors[name] = np.ones(tensors[name].shape, np.uint8)

    change(folder / HF, quantised)
    with pytest.raises(ValueError, match=f"{name} in .* is uint8, as in quantised models"):
        vlp.load(folder)


@pytest.mark.parametrize("kind", ["F8_E4M3", "I8", "I16"])
def test_a_type_of_other_formats_is_refused_with_the_tensor_s_name(kind, tmp_path):
    size = 2 if kind == "I16" else 1
    header = json.dumps({"w": {"dtype": kind, "shape": [3], "data_offsets": [0, 3 * size]}})
    content = len(header).to_bytes(8, "little") + header.encode() + bytes(3 * size)
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=f"w in .* is {kind}; take the model before"):
        open_tensors(tmp_path / "x.safetensors")


W = {"a": np.zeros(1), "b": np.zeros(2)}
EMA = {"a": np.ones(1), "b": np.ones(2)}
CHECKPOINTS = {
    "plain": (W, "params"),
    "open_clip": ({"epoch": 3, "state_dict": W, "optimizer": {"state": {0: EMA}}}, "params"),
    "with a loss": ({"loss": np.zeros(()), "model": W}, "params"),
    "timm": ({"state_dict": W, "state_dict_ema": EMA}, "ema"),
    "model_ema": ({"model": W, "model_ema": EMA}, "ema"),
    "nested": ({"model": {"module": W}, "ema": {"module": EMA}}, "ema"),
    "net": ({"net": W, "optim": {"exp_avg": EMA}}, "params"),
    "an unusual name": ({"weights_of_mine": W}, "params"),
}


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_the_weights_of_a_checkpoint_are_found(kind):
    loaded, expected = CHECKPOINTS[kind]
    found, name, _ = containers.choose(loaded, np.ndarray, weights="auto", source="x.pt")
    assert (name, found["a"][0]) == (expected, expected == "ema")
    found, name, _ = containers.choose(loaded, np.ndarray, weights="params", source="x.pt")
    assert (name, found["a"][0]) == ("params", 0)
    if expected != "ema":
        with pytest.raises(ValueError, match="weights must be one of .*got 'ema'"):
            containers.choose(loaded, np.ndarray, weights="ema", source="x.pt")


def test_which_of_several_weights_was_taken_is_said_and_what_was_not(caplog):
    loaded = {"state_dict": W, "state_dict_ema": EMA, "loss": np.zeros(())}
    _, _, left = containers.choose(loaded, np.ndarray, weights="auto", source="x.pt")
    assert "x.pt: took state_dict_ema, not state_dict; weights=NAME" in caplog.text
    assert set(left) == {"state_dict.a", "state_dict.b", "loss"}
    found, *_ = containers.choose(loaded, np.ndarray, weights="state_dict", source="x.pt")
    assert found["a"][0] == 0


def test_of_names_that_tell_nothing_one_must_be_given():
    loaded = {"student": W, "teacher": EMA}
    with pytest.raises(ValueError, match="one of those in x.pt, student, teacher, got 'auto'"):
        containers.choose(loaded, np.ndarray, weights="auto", source="x.pt")
    found, *_ = containers.choose(loaded, np.ndarray, weights="teacher", source="x.pt")
    assert found["a"][0] == 1


@pytest.mark.parametrize("loaded", [{}, [], {"epoch": 3}, {"optimizer": {"state": {0: W}}}, None])
def test_a_checkpoint_without_weights_says_what_it_holds(loaded):
    with pytest.raises(ValueError, match="x.pt must be a state dict of tensors, found"):
        containers.choose(loaded, np.ndarray, weights="auto", source="x.pt")


@pytest.mark.parametrize("version", ["2.5.1+cu124", "1.13.0", "2.0a0", "unknown"])
def test_pickles_need_a_torch_that_cannot_be_made_to_run_them(version, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(__version__=version))
    (tmp_path / "x.pt").write_bytes(b"")
    with pytest.raises(ValueError, match=r"torch 2.6 or later, got .*CVE-2025-32434.*torch>=2.6"):
        open_tensors(tmp_path / "x.pt", allow_pickle_weights=True)


def test_pickles_need_a_torch(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / "x.pt").write_bytes(b"")
    with pytest.raises(ValueError, match="x.pt is a pickle, .*pip install torch"):
        open_tensors(tmp_path / "x.pt", allow_pickle_weights=True)


# The exported model's sizes, as if open_clip had a model "ViT-S-8-24" of them.
SMALL = ((24, 2, 8, 4.0), (20, 2, 2))


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """Weights of a known architecture with nothing beside them."""
    monkeypatch.setitem(architectures._VIT, "S", SMALL)
    monkeypatch.setitem(architectures._KINDS, "", ({}, dict(vocab_size=420, context_length=12)))
    run = make_run(
        "clip", **{"text.activation": "quick_gelu", "text.width": 20, "text.num_heads": 2}
    )
    for name in ("out", "bare"):
        (tmp_path / name).mkdir()
    open_clip.write(run, tmp_path / "out")
    return run, shutil.copy(tmp_path / "out" / OPEN_CLIP, tmp_path / "bare" / "epoch_3.safetensors")


def test_bare_weights_are_read_by_open_clip_s_name(bare):
    run, file = bare
    assert_same(load_run(file, arch="ViT-S-8-24-quickgelu", tokenizer="none"), run)
    plain = load_run(f"open_clip:{file}", arch="ViT-S-8-24", tokenizer="none")
    assert plain.card["model"]["image"]["activation"] == "gelu"


def test_bare_weights_say_which_models_they_could_be(bare):
    with pytest.raises(ValueError, match="ViT-S-8-24 and of ViT-S-8-24-quickgelu, .*--arch=NAME"):
        load_run(bare[1], tokenizer="none")
    with pytest.raises(ValueError, match="arch must be open_clip's name of a model, got 'ViT-Q-8'"):
        load_run(bare[1], arch="ViT-Q-8", tokenizer="none")


def test_what_openai_leaves_beside_its_weights_tells_the_activation(bare):
    run, file = bare
    numbers = dict(input_resolution=24, context_length=12, vocab_size=420)
    change(file, lambda tensors: tensors.update({k: np.array(v) for k, v in numbers.items()}))
    loaded = load_run(file, tokenizer="none")
    assert_same(loaded, run)
    assert set(loaded.left_out) == set(numbers)
    change(file, lambda tensors: tensors.update(context_length=np.array(16)))
    with pytest.raises(ValueError, match="context_length in .* must be 12, as the configuration"):
        load_run(file, tokenizer="none")


def test_a_model_of_one_s_own_is_read_by_a_file_with_its_sections(bare, tmp_path):
    run, file = bare
    shutil.copy(tmp_path / "out" / "open_clip_config.json", tmp_path / "mine.json")
    loaded = load_run(file, arch=str(tmp_path / "mine.json"), tokenizer="none")
    assert_same(loaded, run)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("vision_model.post_layernorm.bias", "transformers' names: put its config.json"),
        ("visual_encoder.norm.bias", "put albef: or blip: in front"),
        ("blocks.0.norm1.bias", "timm's: put its config.json"),
        ("a.b.c", r"a.b.c \(3,\); put the open_clip_config.json of these weights"),
    ],
)
def test_bare_weights_of_other_stacks_say_what_to_do(name, hint, tmp_path):
    save_file({name: np.zeros(3, np.float32)}, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match=hint):
        vlp.load(tmp_path / "x.safetensors")


def test_a_name_is_refused_where_it_would_have_no_effect(folder):
    with pytest.raises(ValueError, match="arch names a model of open_clip, got 'ViT-B-32'"):
        vlp.load(folder, arch="ViT-B-32")
