"""Weights of another stack as a run: every command takes it, and training begins from it."""

import argparse
import json
import random
import signal
import subprocess
import time

import jax
import numpy as np
import pytest

from tests.interop import tiny
from tests.small import config as tiny_config
from tests.small.runs import command, write_pairs
from vlp.cli.arguments import add_loading_arguments, loading
from vlp.cli.main import main
from vlp.interop.export import export
from vlp.interop.load import load_run
from vlp.interop.loaded import params_of
from vlp.interop.open_clip import write as open_clip
from vlp.run.build import model_kwargs, plan
from vlp.run.init_from import given_params


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("import")


@pytest.fixture(scope="module")
def clip():
    return tiny.make_run("clip")


@pytest.fixture(scope="module")
def hf(clip, folder):
    """A folder of transformers' CLIPModel."""
    export(clip, folder / "hf", to="hf", check="numpy")
    return folder / "hf"


@pytest.fixture(scope="module")
def imported(hf, folder):
    assert main(["import", f"--from={hf}", f"--out={folder / 'run'}"]) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def data(folder):
    return write_pairs(folder / "pairs.tar", copies=2)


def same_arrays(one, two) -> None:
    """Both models have the same parameters, to the bit."""
    one, two = params_of(one), params_of(two)
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], two[name], err_msg=name)


def test_an_imported_run_is_the_model_that_was_there(clip, hf, imported):
    there, here = load_run(hf), load_run(imported)
    same_arrays(there.model, clip.model)
    same_arrays(here.model, clip.model)
    assert here.card == there.card and (here.step, here.weights) == (0, "params")
    assert here.preprocess.to_dict() == there.preprocess.to_dict()
    texts = ["a red heart", "日本 &amp; ✨", ""]
    np.testing.assert_array_equal(here.tokenize(texts), there.tokenize(texts))
    assert sorted(path.name for path in imported.iterdir()) == [
        "card.json",
        "checkpoints",
        here.card["tokenizer"]["file"],
    ]


def test_what_is_imported_is_said(hf, tmp_path, capsys):
    assert main(["import", f"--from=hf:{hf}", f"--out={tmp_path / 'w'}"]) == 0
    said = capsys.readouterr().out
    assert "Weights of CLIPModel" in said and "M parameters, tokenizer" in said
    assert f"imported to {tmp_path / 'w'}" in said


def test_eval_search_and_export_take_it_and_agree_with_the_weights_themselves(
    hf, imported, data, tmp_path, capsys
):
    found = []
    for name, model in (("run", f"--workdir={imported}"), ("hf", f"--model=hf:{hf}")):
        out = tmp_path / f"{name}.json"
        task = ["--task=retrieval", f"--data={data}", f"--out={out}"]
        assert main(["eval", model, *task]) == 0
        capsys.readouterr()
        picture = tmp_path / f"{name}.png"
        assert main(["search", model, f"--data={data}", f"--out={picture}", "a red bar"]) == 0
        said = capsys.readouterr().out.replace(str(picture), "").splitlines()
        results = [line for line in said if not line.startswith("embedded ")]  # and kept elsewhere
        found.append((json.loads(out.read_text())["metrics"], results))
        again = tmp_path / f"{name}-again"
        export_flags = ["--to=hf", "--check=numpy", f"--out={again}"]
        assert main(["export", model, *export_flags]) == 0
        weights = (again / "model.safetensors").read_bytes()
        assert weights == (hf / "model.safetensors").read_bytes()
    assert found[0] == found[1]


def test_a_search_without_data_names_the_flag(hf, imported, capsys):
    for model in (hf, imported):
        assert main(["search", f"--model={model}", "a red heart"]) == 1
        assert "say where to look: --data" in capsys.readouterr().err


def test_other_sizes_resize_the_positions_and_stand_in_the_card(clip, hf, tmp_path):
    out = tmp_path / "w"
    sizes = ["--image-size=32", "--text-length=16"]
    assert main(["import", f"--from={hf}", f"--out={out}", *sizes]) == 0
    card = json.loads((out / "card.json").read_text())
    assert card["model"]["image"]["image_size"] == card["preprocess"]["size"] == 32
    assert card["model"]["text"]["length"] == card["tokenizer"]["length"] == 16
    run = load_run(out)
    assert run.tokenize("a").shape == (1, 16) and run.preprocess.size == 32
    resized = load_run(hf, image_size=32, text_length=16)
    same_arrays(run.model, resized.model)
    assert run.model.image.positions.shape == (17, 24)
    assert run.model.text.positions.shape == (16, 16)


def test_a_folder_that_holds_something_is_refused_before_anything_is_read(tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("dear reader")
    assert main(["import", "--from=hf:nowhere", f"--out={tmp_path}"]) == 1
    assert "must not exist yet, or be empty" in capsys.readouterr().err
    assert main(["import", "--from=hf:nowhere", f"--out={tmp_path / 'thesis.tex'}"]) == 2
    assert "must be a folder" in capsys.readouterr().err
    assert (tmp_path / "thesis.tex").read_text() == "dear reader"


def test_weights_that_are_refused_leave_nothing(tmp_path, capsys):
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "config.json").write_text('{"architectures": ["GPT2Model"]}')
    for source in (tmp_path / "hf", tmp_path / "nowhere"):
        assert main(["import", f"--from={source}", f"--out={tmp_path / 'out' / 'w'}"]) == 1
        assert capsys.readouterr().err.startswith("vlp: ")
    assert not (tmp_path / "out").exists()


def test_killed_anywhere_it_leaves_a_whole_run_or_none(clip, hf, tmp_path):
    out = tmp_path / "w"
    arguments = ["import", f"--from={hf}", f"--out={out}"]
    line, environment = command(*arguments)
    process = subprocess.Popen(
        line, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while process.poll() is None and not (tmp_path / ".w.partial").exists():
        time.sleep(0.001)
    assert list(tmp_path.iterdir())
    time.sleep(random.random() * 0.2)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    if not out.exists():
        assert main(arguments) == 0
    same_arrays(load_run(out).model, clip.model)
    assert [path.name for path in tmp_path.iterdir()] == ["w"]


def test_training_begins_with_the_frozen_tower_of_another_stack(folder):
    config = tiny_config.get_config("data=x")
    config.tokenizer.vocab_size = 90  # another text tower than that of the weights
    image = model_kwargs(config)["image"]
    changes = {f"image.{name}": value for name, value in image.items()}
    export(tiny.make_run("clip", **changes), folder / "lit", to="hf", check="numpy")

    config.preprocess.size = 24  # three patches a side, not two
    config.init.path, config.init.only = f"hf:{folder / 'lit'}", ("image/.*",)
    config.optim.freeze = ("image/.*",)
    training = plan(config, samples_per_epoch=None).training
    state = training.init(given_params(config))
    params = flat(state.params)
    wanted = params_of(load_run(folder / "lit", image_size=24).model)
    for name in wanted:
        if name.startswith("image/"):
            np.testing.assert_array_equal(params[name], wanted[name], err_msg=name)
    assert params["image/positions"].shape == (10, 16) and params["text/tokens"].shape[0] == 90
    assert not [name for name in training.gradient_names if name.startswith("image/")]


def test_parameters_to_begin_with_come_resized_from_whatever_is_read(clip, hf, imported):
    config = tiny_config.get_config("data=x")
    config.preprocess.size, config.tokenizer.length = 32, 8
    before = params_of(clip.model)
    for path in (f"hf:{hf}", str(hf), str(imported)):
        config.init.path, config.init.only = path, (".*",)
        given = flat(given_params(config))
        assert given.keys() == before.keys()
        assert given["text/positions"].shape == (8, 16)
        np.testing.assert_array_equal(given["text/positions"], before["text/positions"][:8])
        assert given["image/positions"].shape == (17, 24)
        config.init.only = ("text/.*", "log_scale")
        given = flat(given_params(config))
        assert {name.split("/")[0] for name in given} == {"text", "log_scale"}


def test_settings_that_make_weights_another_function_are_named(hf, caplog):
    config = tiny_config.get_config("data=x")
    config.init.path, config.init.only = str(hf), ("image/.*",)
    config.model.image.update(load_run(hf).card["model"]["image"] | {"activation": "relu"})
    given_params(config)
    assert "image.activation 'quick_gelu', not 'relu'" in caplog.text
    assert caplog.text.count(", not ") == 1


def flat(tree) -> dict[str, np.ndarray]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(p, simple=True, separator="/"): a for p, a in leaves}


def test_only_the_towers_that_are_taken_have_to_fit(hf):
    config = tiny_config.get_config("data=x")
    config.init.path, config.init.only = str(hf), ("text/.*",)
    config.preprocess.size = 20  # does not divide by the patches of the weights
    assert set(given_params(config)) == {"text"}


@pytest.mark.parametrize(
    ("which", "said"),
    [
        ("ema", "holds one set of weights and no average"),
        ("best", "holds one set of weights and no average, got weights='best'"),
    ],
)
def test_weights_that_are_not_there_are_refused(hf, which, said):
    config = tiny_config.get_config("data=x")
    config.init.path, config.init.which = str(hf), which
    with pytest.raises(ValueError, match=said):
        given_params(config)


def test_a_run_reads_by_its_own_tokenizer(imported):
    with pytest.raises(ValueError, match="reads by the tokenizer in its folder"):
        load_run(imported, tokenizer="other.model")
    silent = load_run(imported, tokenizer="none")
    assert silent.tokenizer is None and silent.card["tokenizer"] is None


def test_bare_weights_are_imported_by_a_model_s_own_sections(tmp_path, clip, capsys):
    """--arch reads what lies elsewhere, --weights chooses, and both are refused without effect."""
    run = tiny.make_run("clip", **{"text.activation": "quick_gelu"})
    open_clip.write(run, tmp_path)
    (tmp_path / "bare").mkdir()
    file = (tmp_path / open_clip.WEIGHTS).rename(tmp_path / "bare" / "epoch_9.safetensors")
    given = ["import", f"--from=open_clip:{file}", f"--out={tmp_path / 'run'}", "--tokenizer=none"]
    assert main(given) == 1
    assert "give arch=NAME (--arch=NAME)" in capsys.readouterr().err
    given.append(f"--arch={tmp_path / 'open_clip_config.json'}")
    assert main([*given, "--weights=ema"]) == 1
    assert "holds one set of weights and no average" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert main([*given, "--weights=params"]) == 0
    assert "licence of the weights: unknown" in capsys.readouterr().out
    same_arrays(load_run(tmp_path / "run").model, run.model)


def test_what_training_left_beside_the_weights_may_be_chosen_by_every_command():
    parser = argparse.ArgumentParser()
    add_loading_arguments(parser)
    assert loading(parser.parse_args([])) == {"allow_pickle_weights": False}
    given = loading(parser.parse_args(["--weights=ema", "--arch=ViT-B-32", "--image-size=32"]))
    assert given == {
        "weights": "ema", "arch": "ViT-B-32", "image_size": 32, "allow_pickle_weights": False
    }  # fmt: skip
