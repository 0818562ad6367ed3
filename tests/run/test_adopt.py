"""A run that begins with weights: what belongs to them comes along, or is refused."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from data_pipelines.images import open_preprocess
from data_pipelines.text import train_sentencepiece
from data_pipelines.tokens import clip_tokenizer, hf_clip_tokenizer
from experiments import own_data
from experiments.common import base_config, begin_with
from tests.interop import tiny
from tests.small.runs import write_pairs
from vlp.cli.config import load_config, read_config
from vlp.interop.adapt import complete
from vlp.interop.describe import describe
from vlp.interop.export import export
from vlp.interop.load import load_run
from vlp.interop.loaded import param_shapes
from vlp.interop.save import save_run
from vlp.run.build import lower, model_kwargs, plan
from vlp.run.config_changes import check_same_config
from vlp.run.init_from import given_params
from vlp.run.inputs import open_inputs
from vlp.run.values import as_json
from vlp.run.weights import same_words
from vlp.run.workdir import Workdir
from vlp.training.params import leaf_names

MEAN, STD = (0.4, 0.45, 0.5), (0.2, 0.25, 0.3)
OWN = "experiments/own_data.py:data=pairs.tar"


def made(kind, **changes):
    """A small run whose pixels are those of no default."""
    colours = {"mean": list(MEAN), "std": list(STD)}
    named = {f"image_{name}": value for name, value in colours.items()}
    run = tiny.make_run(kind, resize="shortest", **named, **changes)
    pixels = run.card["preprocess"] | colours
    card = run.card | {"preprocess": pixels}
    return dataclasses.replace(run, card=card, preprocess=open_preprocess(pixels))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("adopt")


@pytest.fixture(scope="module")
def weights(folder):
    """Models by the path that `init` takes: of transformers, of open_clip, and runs."""
    quick = {"text.activation": "quick_gelu"}  # in both towers, as open_clip has it
    runs = {"clip": made("clip", **quick), "siglip": made("siglip")}
    for name, (kind, to) in {"hf": ("clip", "hf"), "siglip": ("siglip", "hf")}.items():
        export(runs[kind], folder / name, to=to, check="numpy")
    export(runs["clip"], folder / "oc", to="open_clip")
    save_run(load_run(folder / "hf"), folder / "run")
    return {
        "hf": f"hf:{folder / 'hf'}", "siglip": f"hf:{folder / 'siglip'}",
        "open_clip": f"open_clip:{folder / 'oc'}", "run": str(folder / "run"),
    }  # fmt: skip


NAMES = ("hf", "siglip", "open_clip", "run")


@pytest.mark.parametrize("name", NAMES)
def test_what_is_said_of_weights_is_what_loading_them_finds(weights, name):
    card, tokenizer = describe(weights[name])
    run = load_run(weights[name])
    assert card == run.card and tokenizer.sha256 == run.tokenizer.sha256


@pytest.mark.parametrize("name", NAMES)
def test_own_data_begun_with_weights_is_the_weights_own_model(weights, name):
    path = weights[name]
    config = load_config(f"{OWN},init={path}", [])
    run = load_run(path)
    assert complete(model_kwargs(config)) == complete(run.card["model"])
    pixels = {k: v for k, v in run.card["preprocess"].items() if k != "kind"}
    assert as_json(config)["preprocess"] == pixels and pixels["mean"] == list(MEAN)
    objective = "siglip" if name == "siglip" else "clip"
    assert config.objective.name == run.card["objective"] == objective
    own, theirs = config.tokenizer, run.tokenizer
    assert (own.eos_id, own.pad_id) == (theirs.eos_id, theirs.pad_id)
    assert (own.vocab_size, own.length) == (420, 12)
    taken = given_params(config)
    assert set(leaf_names(taken)) == set(param_shapes(run.card["model"]))


def test_what_the_user_changes_is_changed_and_said(weights, caplog):
    caplog.set_level("INFO", logger="vlp")
    config = load_config(
        f"{OWN},init={weights['hf']},res=32,dtype=bfloat16",
        ["--config.tokenizer.length=8", "--config.model.text.remat=full"],
    )
    kwargs = model_kwargs(config)
    assert kwargs["image"]["image_size"] == 32 and kwargs["text"]["length"] == 8
    assert kwargs["image"]["dtype"] == kwargs["text"]["dtype"] == "bfloat16"
    assert "preprocess.size=32 (there 24)" in caplog.text
    assert "tokenizer.length=8 (there 12)" in caplog.text
    assert "model.precision='bfloat16' (not set there)" in caplog.text
    assert "model.text.remat='full'" in caplog.text
    assert "mean" not in caplog.text
    assert (config.preprocess.resize, config.preprocess.resize_size) == ("shortest", 32)


def test_origins_tell_weights_flags_and_usual_values_apart(weights):
    read = read_config(f"{OWN},init={weights['hf']}", ["--config.model.image.dtype=bfloat16"])
    origin = read.origin
    assert origin["model.image.width"] == origin["preprocess.mean"] == "weights"
    assert origin["tokenizer.path"] == origin["objective.name"] == "weights"
    assert origin["model.image.dtype"] == "flag" and origin["tokenizer.extra"] == "usual"


def test_architecture_from_weights_and_from_a_preset_at_once_is_refused(weights):
    with pytest.raises(ValueError, match="names another; leave one of them out"):
        load_config(f"{OWN},init={weights['hf']},model=clip/ViT-B/16", [])


def test_an_image_tower_alone_leaves_the_rest_to_a_preset(weights, folder):
    run = made("clip")
    image = tiny.model(run.card["model"] | {"text": None})
    card = run.card | {"model": image.kwargs, "tokenizer": None}
    save_run(dataclasses.replace(run, model=image, card=card, tokenizer=None), folder / "image")
    config = load_config(f"{OWN},init={folder / 'image'},model=clip/ViT-S/16,vocab=500", [])
    kwargs = model_kwargs(config)
    theirs = complete(run.card["model"])["image"]
    assert complete(kwargs)["image"] == theirs and kwargs["text"]["width"] == 384
    assert config.preprocess.size == 24 and config.tokenizer.path == ""
    assert config.tokenizer.vocab_size == 500
    with pytest.raises(ValueError, match="config.model needs"):
        load_config(f"{OWN},init={folder / 'image'}", [])


def test_a_config_that_waits_for_weights_says_how_to_read_it():
    with pytest.raises(ValueError, match="read the config by vlp.cli.config.load_config"):
        lower(own_data.get_config("data=x,init=hf:nowhere"), samples_per_epoch=1000)


def test_weights_that_are_not_there_are_named(folder):
    with pytest.raises(ValueError, match="config.init.path hf:.*nothing"):
        load_config(f"{OWN},init=hf:{folder / 'nothing'}", [])


def test_begin_with_empties_what_is_read_from_the_weights():
    config = base_config()
    begin_with(config, "hf:x")
    assert config.init.path == "hf:x"
    assert all(not config[section] for section in config.init.adopt)


# --- going on ----------------------------------------------------------------------------------


def test_a_run_goes_on_when_its_first_weights_are_gone_or_changed(weights, folder, tmp_path):
    shutil.copytree(folder / "hf", tmp_path / "hf")
    path, flags = f"{OWN},init=hf:{tmp_path / 'hf'},res=32", ["--config.seed=3"]
    first = as_json(load_config(path, flags))
    workdir = Workdir(tmp_path / "w")
    workdir.path.mkdir()
    workdir.config.write_text(json.dumps(first))

    shutil.rmtree(tmp_path / "hf")
    again = load_config(path, flags, workdir=workdir.path)
    assert as_json(again) == first
    check_same_config(first, as_json(again), workdir.path)
    with pytest.raises(ValueError, match="config.init.path"):
        load_config(path, flags)
    with pytest.raises(ValueError, match="config.init.path"):  # of other weights nothing is known
        load_config(path.replace("hf:", "open_clip:"), flags, workdir=workdir.path)

    wider = made("clip", **{"image.width": 48})
    export(wider, tmp_path / "hf", to="hf", check="numpy")
    changed = as_json(load_config(path, flags, workdir=workdir.path))
    with pytest.raises(ValueError, match="config.model.image.width: 24 there, 48 here"):
        check_same_config(first, changed, workdir.path)


# --- towers and what belongs to them -----------------------------------------------------------


def fitting(folder, *, init, **changes):
    """A config of the weights' shape whose file says nothing of pixels and words."""
    file = folder / "fitting.py"
    file.write_text(
        "from ml_collections import ConfigDict\n"
        "from experiments import own_data\n"
        "def get_config(arg=''):\n"
        "    config = own_data.get_config(f'data={arg},res=24,batch=8')\n"
        f"    config.model = ConfigDict({tiny.kwargs('clip')})\n"
        "    for tower, names in dict(image=['image_size'],\n"
        "                             text=['vocab_size', 'length']).items():\n"
        "        for name in names:\n"
        "            del config.model[tower][name]\n"
        "    config.tokenizer.update(vocab_size=420, length=12)\n"
        "    return config\n"
    )
    data = folder / "pairs.tar"
    if not data.exists():
        write_pairs(data)
    flags = [f"--config.init.path={init}"] + [f"--config.{k}={v}" for k, v in changes.items()]
    return load_config(f"{file}:{data}", flags)


@pytest.mark.parametrize("name", ["hf", "open_clip", "run"])
def test_the_tokenizer_comes_along_with_the_words(weights, folder, tmp_path, name):
    config = fitting(folder, init=weights[name])
    inputs = open_inputs(config, Workdir(tmp_path / "w"))
    inputs.loader.close()
    assert inputs.tokenizer.sha256 == load_run(weights[name]).tokenizer.sha256
    assert (config.tokenizer.eos_id, config.tokenizer.pad_id) == (
        inputs.tokenizer.eos_id, inputs.tokenizer.pad_id,
    )  # fmt: skip
    plan(config, samples_per_epoch=36)


def test_without_the_words_a_tokenizer_is_trained(weights, folder, tmp_path):
    for only in ("('image/.*',)", "('image/.*', 'text/stack/.*', 'log_scale')"):
        config = fitting(folder, init=weights["hf"], **{"init.only": only})
        assert config.tokenizer.path == ""
    inputs = open_inputs(config, Workdir(tmp_path / "w"))
    inputs.loader.close()
    assert inputs.tokenizer.sha256 != load_run(weights["hf"]).tokenizer.sha256


def test_another_tokenizer_of_the_same_size_is_refused(weights, folder, tmp_path):
    words = [f"{a} {b}" for a in "abcdefghijklmnop" for b in "qrstuvwxyz"] * 4
    other = train_sentencepiece(words + ["the blue heart of a cat"] * 99, vocab_size=420)
    other.save(tmp_path / "other.model")
    settings = {"tokenizer.path": tmp_path / "other.model", "tokenizer.vocab_size": 420}
    config = fitting(folder, init=weights["hf"], **settings)
    with pytest.raises(ValueError, match="leave config.tokenizer.path empty to take it along"):
        open_inputs(config, Workdir(tmp_path / "w"))
    only = {"init.only": "('image/.*',)"}
    inputs = open_inputs(fitting(folder, init=weights["hf"], **settings, **only), Workdir(tmp_path))
    inputs.loader.close()


def test_the_same_tokenizer_in_another_place_is_accepted(weights, folder, tmp_path):
    tiny.tokenizer().save(tmp_path / "same.model")
    settings = {"tokenizer.path": tmp_path / "same.model"}
    run = tiny.make_run("clip")
    save_run(run, tmp_path / "run")
    inputs = open_inputs(
        fitting(folder, init=tmp_path / "run", **settings), Workdir(tmp_path / "w")
    )
    inputs.loader.close()


def test_tokenizers_are_compared_by_what_they_do():
    clip, own = clip_tokenizer(), tiny.tokenizer()
    assert same_words(own, own) and not same_words(clip, own)
    assert same_words(clip, hf_clip_tokenizer())  # other files, equal ids for captions
    other = train_sentencepiece(["a b c d e f g"] * 9, vocab_size=420)
    assert not same_words(own, other)


def test_weights_without_a_tokenizer_want_one_named(weights, folder, tmp_path, caplog):
    shutil.copytree(folder / "hf", tmp_path / "hf")
    for file in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (tmp_path / "hf" / file).unlink()
    with pytest.raises(ValueError, match="name it by config.tokenizer.path"):
        fitting(folder, init=f"hf:{tmp_path / 'hf'}")
    tiny.tokenizer().save(tmp_path / "given.model")
    given = {"tokenizer.path": tmp_path / "given.model"}
    config = fitting(folder, init=f"hf:{tmp_path / 'hf'}", **given)
    open_inputs(config, Workdir(tmp_path / "w")).loader.close()
    assert "is not known" in caplog.text and "given.model" in caplog.text


def test_the_normalisation_comes_along_with_the_image_tower(weights, folder):
    config = fitting(folder, init=weights["hf"])
    np.testing.assert_allclose(config.preprocess.mean, MEAN)
    np.testing.assert_allclose(config.preprocess.std, STD)
    assert config.preprocess.resize == "squash"  # the run's own affair
    assert model_kwargs(config)["image_mean"] == list(MEAN)
    words = fitting(folder, init=weights["hf"], **{"init.only": "('text/.*',)"})
    assert tuple(words.preprocess.mean) == (0.5, 0.5, 0.5)


def test_a_normalisation_that_was_set_stays_and_is_warned_of(weights, folder, caplog):
    config = fitting(folder, init=weights["hf"], **{"preprocess.mean": "(0.5, 0.5, 0.5)"})
    assert tuple(config.preprocess.mean) == (0.5, 0.5, 0.5)
    assert tuple(config.preprocess.std) == STD
    given_params(config)
    assert "image_mean [0.4, 0.45, 0.5], not [0.5, 0.5, 0.5]" in caplog.text


def test_a_second_source_brings_its_tokenizer_too(weights, folder, tmp_path):
    config = fitting(folder, init=weights["hf"], **{"init.only": "('image/.*',)"})
    file = tmp_path / "two.py"
    file.write_text(
        "from ml_collections import ConfigDict\n"
        "from experiments.common import base_config\n"
        "def get_config(arg=''):\n"
        "    config = base_config()\n"
        "    config.optim.schedule = ConfigDict(dict(name='cosine', peak=1e-3))\n"
        f"    config.model = ConfigDict({config.model.to_dict()})\n"
        f"    config.init.image = ConfigDict(dict(path='{weights['hf']}', only=('image/.*',)))\n"
        f"    config.init.words = ConfigDict(dict(path='{weights['run']}', only=('text/.*',)))\n"
        "    return config\n"
    )
    two = load_config(str(file), [])
    assert two.tokenizer.path == f"run:{weights['run']}"
    np.testing.assert_allclose(two.preprocess.mean, MEAN)


# --- tokenizers by name ------------------------------------------------------------------------


def test_a_named_tokenizer_says_its_own_ids():
    config = load_config(f"{OWN},tokenizer=clip", [])
    assert config.tokenizer.to_dict() == dict(
        path="clip", vocab_size=49408, length=77, eos_id=49407, pad_id=0, begin=False, extra=0
    )
    assert model_kwargs(config)["text"]["vocab_size"] == 49408
    by_flags = load_config(OWN, ["--config.tokenizer.path=clip", "--config.tokenizer.length=77"])
    assert as_json(by_flags) == as_json(config)
    assert load_config(f"{OWN},tokenizer=clip,model=siglip/ViT-B/16", []).tokenizer.length == 64
