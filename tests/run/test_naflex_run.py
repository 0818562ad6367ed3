"""A run on pictures at their own aspect ratio: what its config says, what it refuses and leaves."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

import vlp
from data_pipelines.naflex import NaflexPreprocess
from experiments import siglip
from experiments.common import NAFLEX_PIXELS
from tests.interop import tiny
from tests.small.naflex import get_config
from tests.small.runs import SMALL, resumes_to_the_bit
from vlp.cli.config import load_config
from vlp.cli.main import main
from vlp.interop.save import save_run
from vlp.models.naflex import NaflexImages
from vlp.run.build import plan
from vlp.run.fields import batch_shapes
from vlp.run.inputs import open_inputs
from vlp.run.resolve import resolve
from vlp.run.values import as_json
from vlp.run.workdir import Workdir

OWN = "experiments/own_data.py:data=pairs.tar"
SQUARE = dict(kind="vit", patch_size=8, width=16, depth=1, num_heads=2)


def changed(**sections) -> ConfigDict:
    """The config with sections, or settings of sections ("model__kind"), of these values."""
    config = get_config("data=none.tar")
    with config.unlocked(), config.ignore_type():
        for key, value in sections.items():
            section, _, name = key.rpartition("__")
            place = config[section] if section else config
            place[name] = ConfigDict(value) if isinstance(value, dict) else value
    return config


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (dict(model__image=SQUARE), "must both be .naflex. or neither, got 'naflex' and 'vit'"),
        (dict(preprocess__patch_size=4), "patch_size must be that of the image tower, 8, got 4"),
        (dict(objective__patch_drop=0.5), "patch_drop must be 0 .* got 0.5; a smaller max_num"),
        (dict(model__kind="tagger", model__num_labels=3), "got Tagger and siglip; take square"),
        (
            dict(objective=dict(name="coca"), model__decoder=dict(depth=1, num_heads=2)),
            "got CoCa and coca; take square pictures",
        ),
        (
            dict(objective=dict(name="albef", mask_id=9), model__fusion=dict(depth=1, num_heads=2)),
            "got Albef and albef; take square pictures",
        ),
        (dict(objective=dict(name="masked_images")), "got DualEncoder and masked_images"),
        (
            dict(objective=dict(name="distillation", teacher_scales=(1.0,), stored=True)),
            "got DualEncoder and distillation",
        ),
    ],
)
def test_what_would_read_padding_is_refused_at_the_start(sections, message):
    with pytest.raises(ValueError, match=message):
        plan(changed(**sections), samples_per_epoch=100)


def test_square_pictures_are_refused_by_a_tower_for_all_shapes():
    config = changed(preprocess=dict(size=16, mean=(0.5,) * 3, std=(0.5,) * 3))
    with pytest.raises(ValueError, match="or neither, got 'square' and 'naflex'"):
        plan(config, samples_per_epoch=100)


def test_drawings_are_not_augmented_at_their_own_shape(pairs, tmp_path):
    config = load_config(f"{SMALL / 'naflex.py'}:data={pairs}", ["--config.augment.rotate=9.0"])
    with pytest.raises(ValueError, match="augmented as photographs, rotate is of drawings"):
        open_inputs(config, Workdir(tmp_path / "run"))


def test_a_size_is_no_setting_of_pictures_of_any_shape():
    with pytest.raises(ValueError, match="config.preprocess.size does not exist; did you mean"):
        load_config(f"{SMALL / 'naflex.py'}:data=x.tar", ["--config.preprocess.size=64"])


def test_the_step_is_traced_with_the_shapes_that_the_host_makes(pairs, tmp_path):
    config = load_config(f"{SMALL / 'naflex.py'}:data={pairs}", [])
    shapes = batch_shapes(config, ("weight", "image", "text"))
    batch = next(open_inputs(config, Workdir(tmp_path / "run")).loader)
    assert isinstance(shapes["image"], NaflexImages)
    for name, like in shapes["image"]._asdict().items():
        rows = batch["image"][name]
        assert (rows.shape, rows.dtype) == (like.shape, like.dtype)


def test_the_experiment_trains_the_tower_of_the_released_models():
    config = siglip.get_config("model=ViT-B/16,data=x.tar,naflex=576")
    training = plan(config, samples_per_epoch=None).training
    shapes = batch_shapes(config, training.fields)["image"]
    assert shapes.patches.shape == (32768, 576, 768)
    image = training.abstract.params["image"]
    assert image["positions"].shape == (256, 768)
    count = sum(leaf.size for leaf in jax.tree.leaves(image)) / 1e6
    assert 92 < count < 94  # as those of SigLIP's B/16 at 256 pixels


@pytest.mark.parametrize(
    ("flags", "stated"), [([], "bilinear"), (["--config.preprocess.interpolation=box"], "box")]
)
def test_what_is_augmented_is_resized_as_evaluation_does_it(flags, stated):
    path = "experiments/siglip.py:data=none.tar,naflex=64"
    assert not load_config(path, flags).augment
    augment = load_config(path, [*flags, "--config.augment.crop=(0.5,1.0)"]).augment
    assert augment.interpolation == stated


def test_a_preset_by_its_name_brings_its_patches_and_what_is_left_out_is_usual():
    config = load_config(f"{OWN},model=siglip2_naflex/ViT-B/32", [])
    assert dict(config.preprocess, patch_size=16) == NAFLEX_PIXELS
    assert config.preprocess.patch_size == 32 and config.objective.name == "siglip"
    bare = changed(preprocess=dict(kind="naflex"))
    resolve(bare)
    usual = NaflexPreprocess().to_dict()
    assert {name: usual[name] for name in bare.preprocess} == as_json(bare.preprocess)
    assert set(bare.preprocess) == set(usual)


def test_a_run_goes_on_from_weights_with_their_patches(tmp_path):
    run = tiny.make_run("siglip")
    of_all = dict(kind="naflex", num_patches=9)
    of_squares = ("image_size", "pool", "patch_bias")
    image = {k: v for k, v in run.card["model"]["image"].items() if k not in of_squares} | of_all
    built = tiny.model(run.card["model"] | {"image": image})
    cut = NaflexPreprocess(patch_size=8, max_num_patches=10)
    card = run.card | {"model": built.kwargs, "preprocess": cut.to_dict()}
    save_run(dataclasses.replace(run, model=built, preprocess=cut, card=card), tmp_path / "run")
    config = load_config(
        f"{OWN},init={tmp_path / 'run'}", ["--config.preprocess.max_num_patches=7"]
    )
    assert config.preprocess.kind == "naflex" and config.preprocess.patch_size == 8
    shapes = batch_shapes(config, plan(config, samples_per_epoch=1000).training.fields)
    assert shapes["image"].patches.shape[1:] == (7, 3 * 8**2)
    with pytest.raises(
        ValueError, match="at their own aspect ratio, got config.preprocess.size=32"
    ):
        load_config(f"{OWN},init={tmp_path / 'run'},res=32", [])


@pytest.mark.slow
def test_a_run_goes_on_to_the_bit_and_is_loaded_and_exported_as_it_trained(pairs, tmp_path, capsys):
    resumes_to_the_bit(f"{SMALL / 'naflex.py'}:data={pairs},steps=4", tmp_path)
    workdir = tmp_path / "whole"
    loss = json.loads((workdir / "results" / "loss.json").read_text())
    assert np.isfinite(loss["metrics"]["loss"]) and loss["counts"]["pairs"] == 32
    model, preprocess, tokenize = vlp.load(workdir)
    assert preprocess.to_dict() == NAFLEX_PIXELS_SMALL
    zimg = model.encode_image(preprocess([np.zeros((20, 50, 3), np.uint8)])).embedding
    export = ["export", f"--workdir={workdir}", "--to=hf", f"--out={tmp_path / 'hf'}"]
    assert main(export) == 1
    assert "for such models it takes Siglip2Tokenizer" in capsys.readouterr().err
    assert main([*export, "--towers=image"]) == 0
    again, theirs, _ = vlp.load(f"hf:{tmp_path / 'hf'}")
    assert theirs.to_dict() == preprocess.to_dict()
    same = again.encode_image(theirs([np.zeros((20, 50, 3), np.uint8)])).embedding
    np.testing.assert_allclose(same, zimg, atol=1e-5)


NAFLEX_PIXELS_SMALL = json.loads(json.dumps(NAFLEX_PIXELS | dict(patch_size=8, max_num_patches=6)))
