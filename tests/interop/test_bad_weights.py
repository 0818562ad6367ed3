"""Damaged, lying and foreign weights are refused with what is wrong, and leave nothing behind."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import vlp
from tests.interop.tiny import make_run
from vlp.cli.main import main
from vlp.interop.export import export
from vlp.interop.load import load_run

WEIGHTS = "model.safetensors"
POSITIONS = "text_model.embeddings.position_embedding.weight"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "hf"
    export(make_run("clip"), folder, check="numpy")
    return folder


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "hf")


def change(folder, edit):
    """Edits the tensors, and the header's words where `edit` returns bytes."""
    tensors = load_file(folder / WEIGHTS)
    edit(tensors)
    save_file(tensors, folder / WEIGHTS)


def configure(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def test_the_whole_folder_is_read_and_gives_what_was_exported(whole):
    run, loaded = make_run("clip"), load_run(whole)
    pairs = ((run.model.text, loaded.model.text), (run.model.image, loaded.model.image))
    for ours, theirs in pairs:
        np.testing.assert_array_equal(ours.positions[...], theirs.positions[...])
    np.testing.assert_array_equal(run.tokenize("a red heart"), loaded.tokenize("a red heart"))


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_refused(folder, share):
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ValueError, match="must be a whole safetensors file, but .*copy it again"):
        vlp.load(folder)


@pytest.mark.parametrize(
    "lie",
    [
        lambda header: (10**18).to_bytes(8, "little") + header,
        lambda header: len(header).to_bytes(8, "little") + header[:-1] + b"!",
        lambda header: with_entry(header, data_offsets=[0, 10**12]),
        lambda header: with_entry(header, shape=[10**9, 10**9]),
        lambda header: with_entry(header, dtype="F4096"),
    ],
)
def test_a_header_that_lies_is_refused(folder, lie):
    data = (folder / WEIGHTS).read_bytes()
    length = int.from_bytes(data[:8], "little")
    (folder / WEIGHTS).write_bytes(lie(data[8 : 8 + length]) + data[8 + length :])
    with pytest.raises(ValueError, match="must be a whole safetensors file"):
        vlp.load(folder)


def with_entry(header, **changes):
    """The header with its first tensor described otherwise, and its true length in front."""
    entries = json.loads(header)
    first = next(name for name in entries if name != "__metadata__")
    entries[first] |= changes
    written = json.dumps(entries).encode()
    return len(written).to_bytes(8, "little") + written


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_named(folder, value):
    def edit(tensors):
        tensors[POSITIONS][1, 2] = value

    change(folder, edit)
    with pytest.raises(ValueError, match=f"{POSITIONS} in .* holds 1 NaN or infinite"):
        vlp.load(folder)


def test_large_finite_numbers_whose_sum_overflows_are_fine(folder):
    def edit(tensors):
        tensors[POSITIONS][:] = 3e38

    change(folder, edit)
    assert load_run(folder).model.text.positions[...].max() == np.float32(3e38)


def test_a_shape_that_does_not_fit_names_the_tensor_and_both_shapes(folder):
    def edit(tensors):
        tensors[POSITIONS] = tensors[POSITIONS][:9].copy()

    change(folder, edit)
    with pytest.raises(ValueError, match=rf"{POSITIONS} must have shape \(12, 16\).*\(9, 16\)"):
        vlp.load(folder)


def test_a_missing_tensor_is_named(folder):
    change(folder, lambda tensors: tensors.pop(POSITIONS))
    with pytest.raises(ValueError, match=f"1 are missing, such as {POSITIONS}"):
        vlp.load(folder)


def test_a_tensor_that_the_architecture_does_not_have_is_named(folder):
    change(folder, lambda tensors: tensors.update(adapter=np.zeros(3, np.float32)))
    with pytest.raises(ValueError, match="found 1 such tensors, first adapter"):
        vlp.load(folder)


def test_an_unknown_architecture_lists_the_known(folder):
    configure(folder, model_type="llama")
    with pytest.raises(ValueError, match="model_type .* must be one of clip, .*siglip.*'llama'"):
        vlp.load(folder)


def test_an_unknown_activation_lists_the_known(folder):
    config = json.loads((folder / "config.json").read_text())
    configure(folder, text_config=config["text_config"] | {"hidden_act": "mish"})
    with pytest.raises(ValueError, match="hidden_act must be one of gelu, .*'mish'"):
        vlp.load(folder)


@pytest.mark.parametrize(
    ("file", "place", "value"),
    [
        ("config.json", ("model_type",), []),
        ("config.json", ("text_config",), "none"),
        ("config.json", ("text_config", "eos_token_id"), [9]),
        ("config.json", ("text_config", "layer_norm_eps"), -1),
        ("config.json", ("logit_scale_init_value",), 1e5),
        ("tokenizer.json", ("added_tokens",), 3),
        ("tokenizer_config.json", ("tokenizer_class",), 3),
        ("tokenizer_config.json", ("added_tokens_decoder",), {"x": "</s>"}),
        ("processor_config.json", ("image_processor",), "CLIPImageProcessor"),
        ("processor_config.json", ("image_processor", "size"), 0.5),
        ("processor_config.json", ("image_processor", "image_mean"), [0.5, float("nan"), 0.5]),
        ("processor_config.json", ("image_processor", "resample"), [3]),
    ],
)
def test_settings_of_another_type_are_refused(folder, file, place, value):
    content = json.loads((folder / file).read_text())
    section = content
    for key in place[:-1]:
        section = section[key]
    section[place[-1]] = value
    (folder / file).write_text(json.dumps(content))
    with pytest.raises(ValueError, match="must"):
        vlp.load(folder)


def test_pictures_of_another_size_than_the_tower_s_are_refused_unless_it_is_changed(folder):
    content = json.loads((folder / "processor_config.json").read_text())
    content["image_processor"]["size"] = {"height": 32, "width": 32}
    (folder / "processor_config.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="takes, image_size 24, got 32"):
        vlp.load(folder)
    _, preprocess, _ = vlp.load(folder, image_size=32)
    assert preprocess.size == 32


@pytest.mark.parametrize("content", ["", "[]", "{", '{"model_type": "clip", "text_config": 3}'])
def test_a_config_that_is_none_is_refused(folder, content):
    (folder / "config.json").write_text(content)
    with pytest.raises(ValueError, match="config.json"):
        vlp.load(folder)


def test_a_folder_without_a_tokenizer_is_refused_unless_none_is_wanted(folder):
    for path in folder.glob("*token*"):
        path.unlink()
    with pytest.raises(ValueError, match='needs a tokenizer, found no file.*tokenizer="none"'):
        vlp.load(folder)
    model, preprocess, tokenize = vlp.load(folder, tokenizer="none")
    assert model.encode_image(preprocess(np.zeros((9, 9, 3), np.uint8))).embedding.shape == (1, 20)
    with pytest.raises(ValueError, match="loaded without one; load it with tokenizer=FILE"):
        tokenize("a cat")


def test_a_tokenizer_may_come_from_elsewhere(whole, folder):
    for path in folder.glob("*token*"):
        path.unlink()
    _, _, tokenize = vlp.load(folder, tokenizer=whole)
    np.testing.assert_array_equal(tokenize("a red heart"), make_run("clip").tokenize("a red heart"))


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(folder):
    def edit(tensors):
        name = "text_model.embeddings.token_embedding.weight"
        tensors[name] = tensors[name][:100].copy()

    change(folder, edit)
    config = json.loads((folder / "config.json").read_text())
    configure(folder, text_config=config["text_config"] | {"vocab_size": 100})
    with pytest.raises(ValueError, match="at most the model's 100 tokens"):
        vlp.load(folder)


def test_a_folder_without_weights_is_said_so(folder):
    (folder / WEIGHTS).unlink()
    with pytest.raises(ValueError, match="must hold its weights as one of model.safetensors"):
        vlp.load(folder)


def test_a_pickle_is_refused_with_the_remedy(folder):
    (folder / WEIGHTS).rename(folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match="must not be a pickle.*--allow-pickle-weights"):
        vlp.load(folder)


@pytest.mark.parametrize("names", [{"x": "../../secret.safetensors"}, {"x": "a.bin"}, {"x": 3}, 7])
def test_an_index_that_points_elsewhere_is_refused(folder, names):
    (folder / WEIGHTS).unlink()
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps({"weight_map": names}))
    with pytest.raises(ValueError, match="must map tensors to .safetensors files beside"):
        vlp.load(folder)


def test_an_import_that_fails_leaves_nothing(folder, tmp_path, capsys):
    change(folder, lambda tensors: tensors.pop(POSITIONS))
    assert main(["import", f"--from={folder}", f"--out={tmp_path / 'run'}"]) == 1
    assert POSITIONS in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["hf"]


def test_a_path_that_holds_nothing_known_lists_what_is_known(tmp_path):
    with pytest.raises(ValueError, match="a run of vlp .*open_clip.*big_vision.*is none of these"):
        vlp.load(tmp_path)
    with pytest.raises(ValueError, match="is not there"):
        vlp.load(tmp_path / "nowhere")


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 345\n"


@pytest.mark.parametrize(
    "name", [WEIGHTS, "config.json", "tokenizer_config.json", "preprocessor_config.json"]
)
def test_a_pointer_of_git_lfs_is_told_from_a_damaged_file(folder, name):
    (folder / "processor_config.json").unlink(missing_ok=True)  # is read before preprocessor_...
    (folder / name).write_bytes(POINTER)
    with pytest.raises(ValueError, match=f"{name} must be .* a pointer of Git LFS: fetch the file"):
        vlp.load(folder)


def test_files_of_json_may_begin_with_a_byte_order_mark(folder):
    for path in folder.glob("*config.json"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert vlp.load(folder)[0].kwargs["embed_dim"] == 20
