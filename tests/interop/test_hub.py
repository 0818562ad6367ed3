"""Models by name: what is fetched, what the cache gives, and what is said when it fails."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
from huggingface_hub import constants

import vlp
from tests.interop.hub_server import COMMIT, Hub, listening
from tests.interop.tiny import make_run
from vlp.interop import hub
from vlp.interop.formats import detect
from vlp.interop.hf import write as hf
from vlp.interop.load import load_run
from vlp.interop.weights import choose_weights

CARD = "---\nlanguage: en\nlicense: mit\ntags:\n- clip\n---\n# A model\nlicense: none of these\n"
NAME = "owner/clip-tiny"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    hf.write(make_run("clip"), folder, metrics={})
    (folder / "README.md").write_text(CARD)
    return folder


@pytest.fixture
def folder(whole, tmp_path):
    """What the model has on the Hub: weights of other stacks too, and in another folder."""
    folder = shutil.copytree(whole, tmp_path / "there")
    for file in ("pytorch_model.bin", "tf_model.h5", "flax_model.msgpack"):
        (folder / file).write_bytes(b"0" * 100)
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.onnx").write_bytes(b"0" * 100)
    return folder


@pytest.fixture
def server(tmp_path, monkeypatch):
    with listening(Hub()) as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(
            constants,
            "HUGGINGFACE_CO_URL_TEMPLATE",
            server.url + "/{repo_id}/resolve/{revision}/{filename}",
        )
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.chdir(tmp_path)
        yield server


def test_what_is_fetched_is_the_model_and_no_other_file(server, folder, whole):
    server.add(NAME, folder)
    run, there = load_run(f"hf:{NAME}"), load_run(whole)
    np.testing.assert_array_equal(run.model.text.tokens[...], there.model.text.tokens[...])
    np.testing.assert_array_equal(run.tokenize("a red heart"), there.tokenize("a red heart"))
    fetched = {file for _, file in server.asked}
    assert "model.safetensors" in fetched and "tokenizer.json" in fetched
    assert not {file for file in fetched if file.endswith((".bin", ".h5", ".msgpack", ".onnx"))}
    assert f"from {NAME}@{COMMIT}" in run.card["attribution"]
    assert run.card["licence"] == "mit"
    server.asked.clear()
    load_run(f"hf:{NAME}@v1")
    assert server.asked == []  # the same commit, from the cache


def test_offline_the_cache_is_enough_and_nothing_is_asked(server, folder, monkeypatch):
    server.add(NAME, folder)
    load_run(f"hf:{NAME}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    server.models.clear()
    assert load_run(f"hf:{NAME}").model.kwargs["embed_dim"] == 20
    with pytest.raises(ValueError, match="owner/other is not in the cache .*HF_HUB_OFFLINE"):
        load_run("hf:owner/other")


def test_a_cache_made_elsewhere_is_read_with_the_library_s_own_variables(folder, tmp_path):
    store = tmp_path / "home" / "hub" / "models--owner--clip-tiny"
    shutil.copytree(folder, store / "snapshots" / COMMIT)
    (store / "refs").mkdir()
    (store / "refs" / "main").write_text(COMMIT)
    code = "import vlp, sys; print(vlp.load(sys.argv[1])[0].kwargs['embed_dim'])"
    printed = subprocess.run(
        [sys.executable, "-c", code, f"hf:{NAME}"],
        capture_output=True,
        text=True,
        env={"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1", "JAX_PLATFORMS": "cpu"},
    )
    assert printed.stdout.split() == ["20"], printed.stderr


def test_pickles_alone_are_named_and_not_fetched(server, folder):
    (folder / "model.safetensors").unlink()
    server.add(NAME, folder)
    with pytest.raises(ValueError, match=f"{NAME} has its weights as pickles alone.*--allow-pic"):
        load_run(f"hf:{NAME}")
    assert (NAME, "pytorch_model.bin") not in server.asked


def test_shards_are_fetched_with_their_index(server, folder):
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    from safetensors import safe_open

    with safe_open(folder / "model-00001-of-00001.safetensors", framework="numpy") as file:
        names = ", ".join(f'"{name}": "model-00001-of-00001.safetensors"' for name in file.keys())
    (folder / "model.safetensors.index.json").write_text(f'{{"weight_map": {{{names}}}}}')
    server.add(NAME, folder)
    assert load_run(f"hf:{NAME}").model.kwargs["embed_dim"] == 20


def test_a_file_of_another_name_is_fetched_by_it(server, folder):
    (folder / "model.safetensors").rename(folder / "epoch_9.safetensors")
    server.add(NAME, folder)
    with pytest.raises(ValueError, match="as one of model.safetensors, found epoch_9.safetensors"):
        load_run(f"hf:{NAME}")
    run = load_run(f"hf:{NAME}/epoch_9.safetensors@v1")
    assert run.card["attribution"].endswith(f"from {NAME}@{COMMIT}/epoch_9.safetensors.")


def test_what_has_moved_on_between_two_files_is_one_commit(server, folder, monkeypatch):
    """The weights are those of the commit whose configuration was fetched."""
    server.add(NAME, folder)
    revisions = []
    fetched = hub._fetched

    def noted(text, patterns, *, revision):
        revisions.append(revision)
        return fetched(text, patterns, revision=revision)

    monkeypatch.setattr(hub, "_fetched", noted)
    load_run(f"hf:{NAME}")
    assert revisions == [None, COMMIT]


def test_a_hub_that_is_gone_is_not_needed_for_what_is_in_the_cache(server, folder, monkeypatch):
    server.add(NAME, folder)
    load_run(f"hf:{NAME}")
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert load_run(f"hf:{NAME}").model.kwargs["embed_dim"] == 20


def test_what_is_here_wins(server, whole, tmp_path, monkeypatch):
    shutil.copytree(whole, tmp_path / "owner" / "clip-tiny")
    assert detect(f"hf:{NAME}") == ("hf", tmp_path / "owner" / "clip-tiny")
    assert server.asked == []


@pytest.mark.parametrize(
    ("refusal", "message"),
    [
        ((403, "GatedRepo"), "who accept its terms: .*hf auth login"),
        ((401, "RepoNotFound"), "found neither a path 'owner/clip-tiny' here nor a model"),
        ((500, ""), "owner/clip-tiny .*(could not be fetched|not reached)"),
    ],
)
def test_what_the_hub_refuses_is_one_line_with_the_remedy(server, folder, refusal, message):
    server.add(NAME, folder)
    server.refused[NAME] = refusal
    with pytest.raises(ValueError, match=message) as caught:
        load_run(f"hf:{NAME}")
    assert "\n" not in str(caught.value)


def test_another_revision_and_another_name_are_refused(server, folder):
    server.add(NAME, folder)
    with pytest.raises(ValueError, match="names a revision that the model does not have"):
        load_run(f"hf:{NAME}@v7")
    with pytest.raises(ValueError, match="found neither a path .* nor a model of that name"):
        load_run("hf:owner/clip-tinny")
    for wrong in ("models/a/b", "../clip", "/nowhere/clip"):
        with pytest.raises(ValueError, match="must be a path that is there, or owner/name"):
            load_run(f"hf:{wrong}")


def test_a_hub_that_is_not_there_is_said_so(server, folder, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ValueError, match="is not in the cache of the Hub, and the Hub is not"):
        load_run(f"hf:{NAME}")


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ValueError, match=r'pip install "vlp\[hub\]"'):
        load_run(f"hf:{NAME}")


def test_a_path_that_could_be_a_name_says_how_to_ask_for_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="hf:owner/name is one on the Hub"):
        vlp.load("openai/clip-vit-base-patch32")


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        (CARD, "mit"),
        ("---\nlicense: other\nlicense_name: my-terms\n---\n", "my-terms"),
        ('---\nlicense: "cc-by-4.0"\n---\n', "cc-by-4.0"),
        ("# A model\nlicense: mit\n---\n", "unknown"),
        ("---\ntags: [x]\n---\n", "unknown"),
        ("", "unknown"),
    ],
)
def test_the_licence_is_that_of_the_card_s_front_matter(card, expected, tmp_path):
    (tmp_path / "README.md").write_text(card)
    assert hub.licence(tmp_path) == expected


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        (["model.safetensors", "pytorch_model.bin"], "model.safetensors"),
        (["pytorch_model.bin", "model.fp16.safetensors"], "pytorch_model.bin"),
        (["model.fp16.safetensors", "config.json"], "model.fp16.safetensors"),
        (["pytorch_model.bin.index.json", "pytorch_model-00001-of-00002.bin"],
         "pytorch_model.bin.index.json"),
        (["model.safetensors.index.fp16.json", "model.fp16-00001-of-00002.safetensors"],
         "model.safetensors.index.fp16.json"),
    ],
)  # fmt: skip
def test_the_first_usual_file_is_taken_else_its_only_variant(there, expected):
    names = ("model.safetensors", "pytorch_model.bin")
    assert choose_weights(there, names, where="folder") == expected


def test_several_variants_are_not_guessed_among():
    there = ["model.fp16.safetensors", "model.non_ema.safetensors"]
    with pytest.raises(ValueError, match="found model.fp16.safetensors, model.non_ema.safetensors"):
        choose_weights(there, ("model.safetensors",), where="folder")
