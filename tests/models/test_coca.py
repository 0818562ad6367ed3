import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.filled import filled
from tests.models.following import following
from vlp.models import CoCa

QUERIES = dict(width=12, num_queries=5, num_heads=2)
KWARGS = dict(
    image=dict(image_size=8, patch_size=4, width=16, depth=1, num_heads=2, class_token=True)
    | dict(pool="queries", queries=QUERIES),
    text=dict(vocab_size=20, length=6, width=12, depth=1, num_heads=2, pool="cls_last"),
    decoder=dict(depth=2, num_heads=2),
    embed_dim=10,
)


def make(**kwargs):
    merged = {
        name: {**value, **kwargs.get(name, {})} if isinstance(value, dict) else value
        for name, value in KWARGS.items()
    }
    return filled(lambda: CoCa(**merged, rngs=nnx.Rngs(0)))


def images():
    return jnp.asarray(np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8))


def text():
    return jnp.int32([[3, 4, 1, 0, 0], [5, 1, 0, 0, 0], [6, 7, 8, 9, 1]])


def captions(model, images, text):
    image, caption = model.encode_image(images), model.encode_text(text)
    return following(model, image, caption, text)


def test_a_caption_s_logits_know_nothing_of_later_words():
    model = make()
    run = jax.jit(lambda text: captions(model, images(), text))
    logits, other = run(text()), run(text().at[:, 3].set(11))
    assert logits.shape == (3, 5, 20) and logits.dtype == jnp.float32
    np.testing.assert_array_equal(other[:, :3], logits[:, :3])
    assert np.abs(other[:, 3] - logits[:, 3]).min(axis=1).max() > 1e-4


POOLS = pytest.mark.parametrize("pool", ["queries", "cascade", "parallel"])


@POOLS
def test_the_decoder_reads_all_image_tokens_but_the_pooled_one(pool):
    model = make(image=dict(pool=pool))
    count = 5 if pool == "queries" else 6
    image, caption = jax.jit(lambda: (model.encode_image(images()), model.encode_text(text())))()
    decode = jax.jit(model.decode)
    logits = decode(image, caption, text())
    assert image.tokens.shape == (3, count, 12) and caption.tokens.shape == (3, 5, 12)
    for token in range(count):
        tokens = image.tokens.at[:, token].add(1.5)
        other = decode(image._replace(tokens=tokens), caption, text())
        assert np.array_equal(other, logits) == (token == 0)


def test_patches_may_be_read_without_queries():
    kwargs = {**KWARGS["image"], "pool": "cls", "queries": None}
    model = filled(lambda: CoCa(**{**KWARGS, "image": kwargs}, rngs=nnx.Rngs(0)))
    logits = jax.eval_shape(lambda: captions(model, images(), text()))
    assert logits.shape == (3, 5, 20)


def test_the_same_model_is_built_again_from_its_own_kwargs():
    model = make()
    kwargs = json.loads(json.dumps(model.kwargs))
    assert kwargs["decoder"] == KWARGS["decoder"]
    again = filled(lambda: CoCa(**kwargs, rngs=nnx.Rngs(0)))
    assert nnx.split(again)[0] == nnx.split(model)[0]


def caption_loss(model):
    image, caption = model.encode_image(images()), model.encode_text(text())
    said = jax.nn.log_softmax(model.decode(image, caption, text()))
    return -jnp.sum(jnp.take_along_axis(said, text()[:, 1:, None], axis=-1))


def contrastive_loss(model):
    zimg, ztxt = model.encode_image(images()).embedding, model.encode_text(text()).embedding
    logits = zimg @ ztxt.T * jnp.exp(model.log_scale[...])
    return -jnp.sum(jnp.diagonal(jax.nn.log_softmax(logits)))


def touched(model, loss):
    """The names of the parameters that the loss has a gradient for."""
    graphdef, params = nnx.split(model)
    gradients = jax.jit(jax.grad(lambda params: loss(nnx.merge(graphdef, params))))(params)
    leaves = jax.tree.leaves_with_path(nnx.as_pure(gradients))
    return {jax.tree_util.keystr(path): float(jnp.abs(leaf).max()) > 0 for path, leaf in leaves}


@POOLS
def test_every_parameter_gets_a_gradient_from_captions_and_embeddings(pool):
    model = make(image=dict(pool=pool))
    names = touched(model, lambda model: caption_loss(model) + contrastive_loss(model))
    assert all(names.values()), [name for name, found in names.items() if not found]


def test_in_a_cascade_both_losses_teach_the_pooler_that_the_decoder_reads():
    heads = {}
    for pool in ("cascade", "parallel"):
        model = make(image=dict(pool=pool))
        for loss in (contrastive_loss, caption_loss):
            names = [name for name, found in touched(model, loss).items() if found]
            heads[pool, loss] = {
                part for part in ("generative", "contrastive") if any(part in n for n in names)
            }
    assert heads["cascade", contrastive_loss] == {"generative", "contrastive"}
    assert heads["parallel", contrastive_loss] == {"contrastive"}
    for pool in ("cascade", "parallel"):
        assert heads[pool, caption_loss] == {"generative"}


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (dict(image=dict(pool="mean", queries=None)), 'image to be a "vit" .* with pool .mean'),
        (dict(text=dict(pool="eot")), 'text to be a causal "transformer" .* with pool .eot'),
        (dict(text=dict(causal=False)), 'text to be a causal "transformer"'),
        (dict(decoder=dict(depth=0)), "depth and unroll must be at least 1, got 0"),
        (dict(image=dict(queries=None)), "queries must be given with pool queries, cascade"),
    ],
)
def test_bad_settings_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        make(**kwargs)
    with pytest.raises(TypeError, match="heads"):
        make(decoder=dict(heads=2))
