"""BLIP's experiments lower from their configs alone."""

import pytest
from ml_collections import ConfigDict

from experiments import blip, capfilt, emoji
from vlp.run.build import lower, model_kwargs, plan
from vlp.run.prepare import check_export


@pytest.mark.parametrize(
    "config",
    [
        emoji.get_config("model=blip,size=24"),
        blip.get_config("data=x,bert=y"),
        capfilt.get_config("stage=filter,data=x,bert=y,init=z"),
        capfilt.get_config("stage=captioner,data=x,bert=y,init=z"),
    ],
    ids=["emoji", "base", "filter", "captioner"],
)
def test_a_step_lowers_from_the_config_alone(config):
    config.objective.queue_size = 2 * config.train.global_batch_size
    text = lower(config, samples_per_epoch=14_000_000).as_text()
    assert f"{config.train.global_batch_size}x" in text and "sharding" in text


def test_the_paper_s_numbers_arrive():
    config = blip.get_config("data=x,bert=y")
    kwargs = model_kwargs(config)
    assert kwargs["end_id"] == 102 and kwargs["text"]["vocab_size"] == 30524
    assert kwargs["image"]["image_size"] == 224 and kwargs["text"]["length"] == 30
    planned = plan(config, samples_per_epoch=2_880_000)
    assert planned.steps == 20_000 and planned.training.recipe.objective.align.ramp == 2000
    assert planned.training.abstract.carry["present"].shape == (20, 2880)


def test_the_stages_of_capfilt_are_the_authors_fine_tuning():
    tuned = {
        stage: capfilt.get_config(f"stage={stage},data=x,bert=y,init=z,model=blip/ViT-L/16")
        for stage in capfilt.STAGES
    }
    assert {stage: config.train.total for stage, config in tuned.items()} == dict(
        filter="6 epochs", captioner="5 epochs"
    )
    assert {stage: config.optim.schedule.peak for stage, config in tuned.items()} == dict(
        filter=5e-6, captioner=2e-6
    )
    assert all(config.train.global_batch_size == 256 for config in tuned.values())
    assert all(config.init.path == "z" for config in tuned.values())


@pytest.mark.parametrize(
    ("arg", "said"),
    [
        ("data=x,bert=y,init=z", "stage must be one of filter, captioner, got ''"),
        ("stage=filter,data=x,bert=y", "needs init=WORKDIR"),
        ("stage=filter,data=x,init=z", "needs data=PATTERN and bert=FOLDER"),
    ],
)
def test_capfilt_asks_for_what_it_needs(arg, said):
    with pytest.raises(ValueError, match=said):
        capfilt.get_config(arg)


def test_what_it_cannot_do_without_is_asked_for():
    with pytest.raises(ValueError, match="needs data=PATTERN and bert=FOLDER"):
        blip.get_config("data=x")
    with pytest.raises(ValueError, match="one of blip/ViT-B/16, blip/ViT-L/16, got 'blip/B'"):
        blip.get_config("data=x,bert=y,model=blip/B")


def checked(*, pre_norm=False, **settings):
    """The check before training of what the emoji's BLIP would be exported as."""
    config = emoji.get_config("model=blip")
    config.model.image.pre_norm = pre_norm
    config.export = ConfigDict(dict(to="hf", out="exported") | settings)
    check_export(config, model_kwargs(config))


@pytest.mark.parametrize("mode", ["encode", "decode"])
def test_the_mode_of_an_export_is_seen_before_training(mode):
    checked(mode=mode)
    with pytest.raises(ValueError, match=r"image.pre_norm=True \(accepted: False\)"):
        checked(mode=mode, pre_norm=True)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "export.mode in a config"),
        (dict(mode="match"), "one that the model has, encode or decode, got 'match'"),
        (dict(modes="encode"), "modes is no setting of this target, whose own are mode"),
        (dict(mode="encode", towers="all"), "towers must be one of both, image, text"),
        (dict(to="open_clip", towers="image"), 'towers must be "both" for open_clip'),
    ],
)
def test_what_could_not_be_exported_is_refused_before_training(settings, said):
    with pytest.raises(ValueError, match=said):
        checked(**settings)
