"""Wrong pairs: chosen among the whole batch however it is spread, or on each device for itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vlp.objectives.common.micro_batches import MicroBatches
from vlp.objectives.common.triples import match_triples
from vlp.parallel.mesh import make_mesh

N, DEVICES = 16, 4
RNG = np.random.default_rng(0)
IMAGE, CAPTION = jnp.float32(RNG.normal(size=(2, N, 5)))
TEXT = jnp.arange(N * 3, dtype=jnp.int32).reshape(N, 3)
IDS = jnp.stack([jnp.arange(N), jnp.zeros(N, int)], axis=1)


class Products:
    """A match is as likely as the inner product says."""

    def match(self, image, caption, text):
        logit = jnp.sum(image * caption, axis=1) + text[:, 0].astype(jnp.float32) / 10
        return jnp.stack([jnp.zeros_like(logit), logit], axis=1)


def outcome(rows=slice(None), mesh=None, **settings):
    image, caption, text = IMAGE[rows], CAPTION[rows], TEXT[rows]
    return jax.jit(
        lambda: match_triples(
            Products(),
            image,
            caption,
            dict(text=text, id=IDS[rows], weight=jnp.ones(len(text))),
            to_texts=image @ caption.T,
            to_images=caption @ image.T,
            key=jax.random.key(0),
            choice="hardest",
            micro=MicroBatches(mesh=mesh),
            **settings,
        )
    )()


def test_a_mesh_changes_nothing_where_wrong_ones_are_of_the_whole_batch():
    for axes in (dict(data=DEVICES), dict(data=2, fsdp=2)):
        mesh = make_mesh(**axes, devices=jax.devices()[:DEVICES])
        for got, want in zip(outcome(mesh=mesh), outcome(), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-6)


def test_of_each_device_s_own_they_are_those_of_a_batch_of_its_own():
    mesh = make_mesh(devices=jax.devices()[:DEVICES])
    share = N // DEVICES
    parts = [outcome(slice(i, i + share)) for i in range(0, N, share)]
    for place, got in enumerate(outcome(mesh=mesh, among="device")):
        want = np.concatenate([part[place] for part in parts])
        np.testing.assert_allclose(got, want, rtol=1e-6)
    assert not np.allclose(outcome(mesh=mesh, among="device")[0], outcome(mesh=mesh)[0])


def test_another_choice_is_refused():
    with pytest.raises(
        ValueError, match="negatives_among must be one of batch, device, got 'group'"
    ):
        outcome(among="group")
