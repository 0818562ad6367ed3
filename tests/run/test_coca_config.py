"""CoCa's experiment: it lowers from its config alone, with the numbers of the paper."""

import math

import jax
import numpy as np
import pytest
from PIL import Image

from data_pipelines.augmentation import augmentation
from experiments import coca
from tests.odd_images import saved
from vlp.run.build import lower, model_kwargs, plan
from vlp.training.optim.schedules import make_schedule


def test_a_step_lowers_from_the_config_alone():
    config = coca.get_config("size=b,data=x,labels=y")
    text = lower(config).as_text()
    assert "65536x288x288x3" in text and "sharding" in text
    assert config.data.labelled == "y" and config.data.label_share == 0.5


# Millions of parameters in the paper's table 1, which leaves out the poolers; of the largest the
# table has two digits, 2.1 B, where its own parts make 2.19.
@pytest.mark.parametrize(("size", "published"), [("b", 383), ("l", 787), ("2b", 2190)])
def test_a_size_has_the_parameters_of_the_paper_s_table(size, published):
    planned = plan(coca.get_config(f"size={size},data=x"), samples_per_epoch=None)
    params = jax.tree.leaves(planned.training.abstract.params)
    assert abs(sum(math.prod(leaf.shape) for leaf in params) / 1e6 / published - 1) < 0.02


def test_the_paper_s_numbers_arrive():
    config = coca.get_config("data=x")
    kwargs = model_kwargs(config)
    assert kwargs["image"]["image_size"] // kwargs["image"]["patch_size"] == 16
    assert kwargs["image"]["pool"] == "cascade" and kwargs["image"]["queries"]["num_queries"] == 256
    assert kwargs["text"]["depth"] == kwargs["decoder"]["depth"] == 18
    assert (kwargs["text"]["length"], kwargs["text"]["vocab_size"]) == (64, 64000)
    assert not config.data.labelled and config.data.label_share is None
    planned = plan(config, samples_per_epoch=None)
    assert planned.steps == 500_000
    settings = config.optim.schedule.to_dict()
    settings |= {name: planned.lengths.steps(settings[name]) for name in ("warmup", "cooldown")}
    schedule = make_schedule(**settings, steps=planned.steps)
    rates = [float(schedule(step)) for step in (10_000, 255_000, 500_000)]
    np.testing.assert_allclose(rates, [8e-4, 4e-4, 0.0], atol=1e-9)
    loss = planned.training.recipe.objective
    assert (loss.contrastive_weight, loss.caption_weight) == (1.0, 2.0)


def test_pictures_are_shown_as_they_are():
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    augment = augmentation(32, **coca.get_config("data=x").augment.to_dict())
    data = saved(Image.fromarray(picture), "PNG")
    np.testing.assert_array_equal(augment.of_file(data, np.random.default_rng(1)), picture)


def test_what_it_cannot_do_without_is_asked_for():
    with pytest.raises(ValueError, match="needs data=PATTERN"):
        coca.get_config("size=b")
    with pytest.raises(ValueError, match="size must be one of b, l, 2b, got 'h'"):
        coca.get_config("size=h,data=x")
