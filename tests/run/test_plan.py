"""What a config says of the mesh and the model reaches the training, or is refused in one line."""

import jax
import jax.numpy as jnp
import pytest
from ml_collections import ConfigDict

from experiments import emoji
from vlp.parallel.mesh import make_mesh
from vlp.run.build import plan


def tiny(**sections) -> ConfigDict:
    config = emoji.get_config("size=16")
    config.train.global_batch_size = 16
    config.model.image.update(patch_size=8, depth=1, unroll=1)
    config.model.text.update(depth=1, unroll=1)
    with config.unlocked():
        for section, settings in sections.items():
            config[section].update(settings)
    return config


def test_the_tile_of_the_ring_is_a_setting():
    mesh = make_mesh(data=2, devices=jax.devices()[:2])
    z, scale = jax.ShapeDtypeStruct((16, 4), jnp.float32), jnp.float32(1)

    def tiles(tile):
        config = tiny(objective=dict(implementation="ring", tile=tile))
        loss = plan(config, samples_per_epoch=100, mesh=mesh).training.recipe.objective.loss
        text = str(jax.make_jaxpr(lambda zimg, ztxt: loss(zimg, ztxt, scale=scale))(z, z))
        return {size for size in (2, 4, 8) if f"f32[{size},{size}]" in text}

    assert tiles(2) == {2} and tiles(4) >= {4} and tiles(100) == {8}


def test_from_what_size_on_parameters_are_divided_is_a_setting():
    def divided(**mesh):
        training = plan(tiny(mesh=dict(fsdp=4) | mesh), samples_per_epoch=100).training
        arrays = jax.tree.leaves(training.abstract.params)
        return sum("fsdp" in array.sharding.spec for array in arrays)

    assert (
        divided(fsdp_min_elements=1)
        > divided(fsdp_min_elements=10**4)
        > divided(fsdp_min_elements=10**9)
        == 0
    )


def test_in_what_first_moments_are_kept_is_a_setting():
    def state(name="adamw", **optimizer):
        config = tiny()
        with config.unlocked():
            config.optim.optimizer = ConfigDict(dict(name=name, **optimizer))
        arrays = jax.tree.leaves(plan(config, samples_per_epoch=100).training.abstract.opt_state)
        return sum(array.size * array.dtype.itemsize for array in arrays if array.ndim)

    assert state() == state(mu_dtype="float32") == state(mu_dtype="bfloat16") / 0.75
    assert state("lion", mu_dtype="bfloat16") == state() / 4


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (dict(image=None), "config.model.image must be a tower's settings, .* got None"),
        (dict(text=None), "config.model.text must be a tower's settings, .* got None"),
    ],
)
def test_a_model_that_pairs_cannot_train_is_refused(model, message):
    config = tiny()
    with config.unlocked(), config.ignore_type():
        for tower, settings in model.items():
            config.model[tower] = settings and ConfigDict(settings)
    with pytest.raises(ValueError, match=message):
        plan(config, samples_per_epoch=100)


@pytest.mark.parametrize(
    ("sections", "name"),
    [
        (dict(model=dict(embed_dim=0)), "embed_dim"),
        (dict(model=dict(image=dict(depth=0))), "image.depth"),
        (dict(model=dict(text=dict(width=-4))), "text.width"),
        (dict(model=dict(text=dict(num_heads=0))), "text.num_heads"),
        (dict(preprocess=dict(size=0)), "image.image_size"),
        (dict(tokenizer=dict(length=0)), "text.length"),
    ],
)
def test_a_size_below_one_is_refused_at_the_start(sections, name):
    with pytest.raises(ValueError, match=f"^{name} must be at least 1, got "):
        plan(tiny(**sections), samples_per_epoch=100)
