"""BLIP-2's experiments: the paper's numbers, and what a config must say of a frozen tower."""

import pytest
from ml_collections import ConfigDict

from experiments import blip2, emoji_blip2
from vlp.run.build import model_kwargs, plan

ARG = "data=x,bert=y,image=z"


def test_the_paper_s_numbers_arrive():
    config = blip2.get_config(f"{ARG},batch=8")
    kwargs = model_kwargs(config)
    assert (kwargs["num_queries"], kwargs["cross_every"], kwargs["embed_dim"]) == (32, 2, 256)
    assert kwargs["end_id"] == 102 and kwargs["text"]["vocab_size"] == 30523
    assert kwargs["image"] == dict(kind="frozen", width=1024, image_size=224)
    planned = plan(config, samples_per_epoch=None)
    assert planned.steps == 250_000 and "image" not in planned.training.abstract.params
    blocks = planned.training.frozen["image"]["image"]["stack"]["blocks"]
    assert blocks["norm1"]["scale"].shape == (23, 1024)  # of 24
    assert blip2.get_config(ARG).train.global_batch_size == 2320
    assert blip2.get_config(f"{ARG},model=blip2/ViT-g/14").train.global_batch_size == 1680


def test_a_frozen_tower_must_be_named_and_no_other():
    config = emoji_blip2.get_config("image=none")
    config.frozen = ConfigDict()
    with pytest.raises(ValueError, match="blip2 and the model look at, image, got nothing"):
        plan(config, samples_per_epoch=1000)
    config = emoji_blip2.get_config("image=none")
    config.frozen.teacher = ConfigDict(dict(path="none"))
    with pytest.raises(ValueError, match="look at, image, got image, teacher"):
        plan(config, samples_per_epoch=1000)


def test_what_is_missing_is_asked_for():
    with pytest.raises(ValueError, match="needs data=PATTERN, bert=FOLDER and image=WEIGHTS"):
        blip2.get_config("data=x,bert=y")
    with pytest.raises(ValueError, match="model must be one of blip2/ViT-L/14, blip2/ViT-g/14"):
        blip2.get_config(f"{ARG},model=blip/ViT-L/16")
