"""BLIP's experiments lower from their configs alone."""

import pytest

from experiments import blip, emoji
from vlp.cli.build import lower, model_kwargs, plan


@pytest.mark.parametrize(
    "config",
    [
        emoji.get_config("model=blip,size=24"),
        blip.get_config("data=x,bert=y"),
    ],
    ids=["emoji", "base"],
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
    assert planned.steps == 20_000 and planned.training.loss.align.ramp == 2000
    assert planned.training.abstract.carry["present"].shape == (20, 2880)


def test_what_it_cannot_do_without_is_asked_for():
    with pytest.raises(ValueError, match="needs data=PATTERN and bert=FOLDER"):
        blip.get_config("data=x")
    with pytest.raises(ValueError, match="one of blip/ViT-B/16, blip/ViT-L/16, got 'blip/B'"):
        blip.get_config("data=x,bert=y,model=blip/B")
