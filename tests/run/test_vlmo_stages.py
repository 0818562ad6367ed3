"""VLMo's stages as whole runs: each begins with the one before and leaves alone what it freezes."""

import re

import jax
import numpy as np
import pytest
from flax import traverse_util

from experiments import emoji_vlmo, vlmo
from tests.small.runs import SMALL, losses, write_pairs
from vlp.cli.config import load_config
from vlp.cli.main import main
from vlp.interop.load import load_run
from vlp.interop.loaded import params_of
from vlp.run.build import lower, plan
from vlp.run.init_from import given_params
from vlp.training.params import leaf_names

pytestmark = pytest.mark.slow
TINY = SMALL / "vlmo.py"
STAGES = ("vision", "language", "pairs")
BEFORE = list(zip(STAGES, STAGES[1:], strict=False))


@pytest.fixture(scope="module", params=["absolute", "relative"])
def runs(request, tmp_path_factory):
    """The workdir of each stage, and the config that it was trained with."""
    root, positions = tmp_path_factory.mktemp("vlmo"), request.param
    pairs, made = write_pairs(root / "pairs.tar"), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLP_CACHE", str(tmp_path_factory.getbasetemp().parent / "vlp-cache"))
        for before, stage in zip((None, *STAGES), STAGES, strict=False):
            init = f",init={made[before][0]}" if before else ""
            config = f"{TINY}:stage={stage},positions={positions},data={pairs}{init}"
            workdir = root / stage
            assert main(["train", f"--config={config}", f"--workdir={workdir}"]) == 0
            made[stage] = workdir, load_config(config, [])
    return made


def trained(runs, stage):
    return params_of(load_run(runs[stage][0], weights="params").model)


def frozen(names, stage):
    return {name for name in names if any(re.fullmatch(p, name) for p in vlmo.FREEZE[stage])}


@pytest.mark.parametrize(("before", "stage"), BEFORE)
def test_a_stage_begins_with_the_arrays_of_the_one_before_to_the_bit(runs, before, stage):
    _, config = runs[stage]
    state = plan(config, samples_per_epoch=36).training.init(given_params(config))
    start = traverse_util.flatten_dict(jax.tree.map(np.asarray, state.params), sep="/")
    end = trained(runs, before)
    assert start.keys() == end.keys()
    for name, array in start.items():
        np.testing.assert_array_equal(array, end[name], err_msg=name)


@pytest.mark.parametrize(("before", "stage"), BEFORE)
def test_what_a_stage_freezes_stays_to_the_bit_and_all_else_moves(runs, before, stage):
    start, end = trained(runs, before), trained(runs, stage)
    still = {name for name in start if np.array_equal(start[name], end[name])}
    assert still == frozen(start, stage)


@pytest.mark.parametrize("stage", STAGES)
def test_what_a_stage_freezes_has_no_optimiser_state_and_all_else_has(runs, stage):
    training = plan(runs[stage][1], samples_per_epoch=36).training
    names = set(leaf_names(training.abstract.params))
    kept = {
        name
        for name in names
        if any(path.endswith(f"/{name}") for path in leaf_names(training.abstract.opt_state))
    }
    assert kept == names - frozen(names, stage)
    assert set(training.gradient_names) == kept


def test_experts_train_in_their_own_stages_only():
    names = [
        f"multiway/{stack}/blocks/{part}/kernel"
        for stack in ("lower", "upper")
        for part in ("attention/qkv", "image/mlp/up", "text/mlp/up", "pair/mlp/up")
    ]
    train = {stage: [n for n in names if n not in frozen(names, stage)] for stage in STAGES}
    assert [n.split("/")[3] for n in train["vision"]] == ["attention", "image"] * 2
    assert [n.split("/")[3] for n in train["language"]] == ["text"] * 2
    assert train["pairs"] == names


def test_tables_of_relative_positions_train_where_their_tokens_are_seen():
    names = {
        table: f"multiway/lower/blocks/relative/{table}" for table in ("image", "text", "pair")
    }
    train = {
        stage: [t for t, n in names.items() if n not in frozen([n], stage)] for stage in STAGES
    }
    assert train == dict(vision=["image"], language=["text"], pairs=["image", "text", "pair"])


def test_the_last_stage_is_judged_and_can_be_loaded(runs):
    workdir, _ = runs["pairs"]
    assert len(losses(workdir)) == 2 and (workdir / "results" / "same.json").exists()
    run = load_run(workdir)
    image = run.model.encode_image(np.zeros((2, 16, 16, 3), np.uint8))
    text = run.tokenize(["a red dot", "a green bar"])
    caption = run.model.encode_text(text)
    assert run.model.match(image, caption, text).shape == (2, 2)
    assert run.model.predict_tokens(image, text).shape == (2, 8, 301)
    assert run.model.predict_words(text).shape == (2, 8, 301)
    np.testing.assert_allclose(np.linalg.norm(caption.embedding, axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("to", "towers", "said"),
    [
        ("hf", "both", "got image.kind='patches' (accepted: 'vit')"),
        ("timm", "image", "got image.kind='patches' (accepted: 'vit')"),
        ("stablehlo", "both", "got one transformer that image and text share"),
        ("stablehlo", "text", "got one transformer that image and text share"),
    ],
)
def test_other_stacks_refuse_it_by_name(runs, to, towers, said, tmp_path, capsys):
    out = tmp_path / "out"
    flags = [f"--model={runs['pairs'][0]}", f"--to={to}", f"--towers={towers}", f"--out={out}"]
    assert main(["export", *flags]) != 0
    assert said in capsys.readouterr().err and not out.exists()


@pytest.mark.parametrize("size", ["base", "base-plus"])
@pytest.mark.parametrize(
    ("stage", "read", "unread"),
    [
        ("vision", "64x224x224x3xui8", "64x40xi32"),
        ("language", "64x40xi32", "64x224x224x3xui8"),
        ("pairs", "64x224x224x3xui8", None),
    ],
)
def test_every_stage_of_the_paper_lowers_from_its_config_alone(stage, read, unread, size):
    config = vlmo.get_config(f"stage={stage},size={size},data=x,tokenizer=y,init=z,batch=64")
    text = lower(config, samples_per_epoch=1_000_000).as_text()
    assert read in text
    assert unread is None or unread not in text  # the other modality costs nothing
    # Distances of 14 x 14 patches, in all layers below those with an expert for pairs.
    assert ("10x732x12xf32" in text) == (size == "base")


def test_a_stage_that_is_none_or_has_nothing_to_begin_with_is_refused():
    with pytest.raises(ValueError, match="stage must be one of vision, language, pairs, got 'v'"):
        emoji_vlmo.get_config("stage=v")
    with pytest.raises(ValueError, match="stage=language .* give init=WORKDIR"):
        emoji_vlmo.get_config("stage=language")
    with pytest.raises(ValueError, match="vlmo.py needs tokenizer="):
        vlmo.get_config("data=x")
