import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.objectives.calling import call
from vlp.losses.labels import label_losses
from vlp.models.build import make_model, model_class
from vlp.models.tagger import Tagger
from vlp.objectives import objectives
from vlp.objectives.catlip import Catlip
from vlp.parallel.mesh import make_mesh

TOWER = dict(image_size=8, patch_size=4, width=16, depth=1, num_heads=2)
KWARGS = dict(image=TOWER, num_labels=7, embed_dim=16, image_projection="none")


@pytest.fixture(scope="module")
def model():
    return Tagger(**KWARGS, rngs=nnx.Rngs(0))


def batch(n=8):
    rng = np.random.default_rng(0)
    labels = np.full((n, 3), -1, np.int32)
    for i in range(n):
        own = np.sort(rng.choice(7, i % 3 + 1, replace=False))
        labels[i, : len(own)] = own
    return {
        "image": jnp.asarray(rng.integers(0, 256, (n, 8, 8, 3), np.uint8)),
        "labels": jnp.asarray(labels),
        "weight": jnp.ones(n),
    }


def test_a_model_of_labels_is_known_by_their_number_and_built_again(model):
    assert model_class(KWARGS) is Tagger and objectives()["catlip"] is Catlip
    again = make_model(model.kwargs, rngs=nnx.Rngs(0))
    one, other = (nnx.to_pure_dict(nnx.state(each)) for each in (model, again))
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_the_loss_is_of_the_logits_of_what_the_tower_pools(model):
    rows = batch()
    losses, metrics, _ = call(Catlip(), model, rows)
    pooled = model.encode_image(rows["image"]).pooled
    kernel, bias = model.label_head.kernel[...], model.label_head.bias[...]
    logits = np.asarray(pooled) @ np.asarray(kernel) + np.asarray(bias)[None]
    np.testing.assert_allclose(losses, label_losses(jnp.asarray(logits), rows["labels"]), atol=1e-5)
    assert set(metrics) == {"best_label", "labels_loss"}


def test_micro_batches_on_a_mesh_have_the_gradients_of_the_whole_batch(model):
    graphdef, params = nnx.split(model)
    rows = batch(16)

    def gradient(objective):
        def total(params):
            return jnp.sum(call(objective, nnx.merge(graphdef, params), rows)[0])

        return jax.jit(jax.value_and_grad(total))(params)

    whole = gradient(Catlip())
    few = gradient(Catlip(micro_batch_size=8, mesh=make_mesh(devices=jax.devices()[:4])))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), whole, few)


def test_a_model_without_labels_is_refused_with_what_to_give():
    other = make_model(
        dict(image=TOWER, text=None, embed_dim=16, image_projection="none"), rngs=nnx.Rngs(0)
    )
    with pytest.raises(ValueError, match="model.num_labels"):
        call(Catlip(), other, batch())


def test_a_text_tower_or_no_label_is_refused():
    with pytest.raises(ValueError, match="no text tower"):
        Tagger(**KWARGS | dict(text=dict(width=16)), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="num_labels"):
        Tagger(**KWARGS | dict(num_labels=0), rngs=nnx.Rngs(0))
