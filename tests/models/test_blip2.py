"""BLIP-2: what its three masks hide, what it shares, and the tower that it is given."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.filled import filled
from tests.models.following import following
from vlp.generation import beam
from vlp.models import Bert, Blip2, DualEncoder
from vlp.models.blip2 import behind_queries
from vlp.models.build import frozen_towers, make_model, model_class, with_frozen
from vlp.models.protocols import given
from vlp.objectives.common.encode import compute_dtype

LENGTH, VOCAB, END, DECODE, QUERIES = 6, 22, 1, 21, 3
TOWER = dict(image_size=8, patch_size=4, width=16, depth=2, num_heads=2)
TEXT = dict(kind="bert", vocab_size=VOCAB, length=LENGTH, width=12, depth=4, num_heads=2)
KWARGS = dict(
    image=TOWER,
    text=TEXT | dict(num_types=None, pooler=False),
    embed_dim=10,
    end_id=END,
    num_queries=QUERIES,
)
PLACE = KWARGS | dict(image=dict(kind="frozen", width=16, image_size=8))


@functools.cache
def make():
    return filled(lambda: Blip2(**KWARGS, rngs=nnx.Rngs(0)), seed=3)


@functools.cache
def pictures():
    return jnp.asarray(np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8))


@functools.cache
def image():
    return jax.jit(make().encode_image)(pictures())


def text():
    return jnp.int32([[2, 4, 5, 1, 0, 0], [2, 6, 1, 0, 0, 0], [2, 7, 8, 9, 3, 1]])


@functools.cache
def _compiled():
    graphdef, _ = nnx.split(make())

    @jax.jit
    def run(state, tokens, text):
        model = nnx.merge(graphdef, state)
        seen, caption = image()._replace(tokens=tokens), model.encode_text(text)
        return dict(
            image=model._through(tokens, None),
            text=caption.tokens,
            match=model.match(seen, caption, text),
            words=following(model, seen, None, text),
        )

    return run


def outputs(**given):
    """What is said of the image's tokens, the text, and the learned queries."""
    state = nnx.split(make())[1]
    state["querying"]["tokens"] = state["querying"]["tokens"].replace(
        given.get("queries", make().querying.tokens[...])
    )
    return _compiled()(state, given.get("tokens", image().tokens), given.get("text", text()))


@pytest.mark.slow
def test_it_computes_in_what_its_queries_and_texts_do_whatever_the_tower_that_it_is_given():
    low = PLACE | dict(text=KWARGS["text"] | dict(dtype="bfloat16"))
    for kwargs, want in ((low, "bfloat16"), (PLACE, "float32"), (KWARGS, "float32")):
        model = nnx.eval_shape(lambda kwargs=kwargs: Blip2(**kwargs, rngs=nnx.Rngs(0)))
        assert compute_dtype(model) == model.dtype == want


def test_the_contrast_s_text_sees_no_query_and_its_queries_no_text():
    usual, other = outputs(), outputs(queries=make().querying.tokens[...][:, ::-1])
    np.testing.assert_array_equal(other["text"], usual["text"])
    for name in ("image", "match", "words"):
        assert np.abs(other[name] - usual[name]).max() > 1e-3, name
    np.testing.assert_array_equal(outputs(text=text()[::-1])["image"], usual["image"])


def test_what_is_written_knows_nothing_of_later_words_and_what_is_matched_does():
    usual, other = outputs(), outputs(text=text().at[2, 4].set(11))
    np.testing.assert_array_equal(other["words"][:, :4], usual["words"][:, :4])
    assert np.abs(other["words"][2, 4] - usual["words"][2, 4]).max() > 1e-4
    assert np.abs(other["match"][2] - usual["match"][2]).max() > 1e-5
    np.testing.assert_array_equal(other["match"][:2], usual["match"][:2])


def test_the_text_reads_the_image_by_way_of_the_queries_alone():
    usual = outputs()
    for token in range(5):
        other = outputs(tokens=image().tokens.at[:, token].add(1.0))
        np.testing.assert_array_equal(other["text"], usual["text"])
        for name in ("image", "match", "words"):
            assert np.abs(other[name] - usual[name]).max() > 1e-5, (token, name)


def test_padding_is_hidden():
    two = jax.tree.map(lambda x: x[:2], image())
    ours = make().match(two, two, text()[:2, :4])
    np.testing.assert_allclose(ours, outputs()["match"][:2], atol=1e-5)


@pytest.mark.slow
def test_queries_and_text_apart_are_what_a_mask_between_them_makes_of_both_together():
    model = make()
    x = model.querying.entering(model.text.embed_norm, model.text.embed(text()), n=3)
    side = jnp.arange(QUERIES + LENGTH) < QUERIES
    seen = jnp.concatenate([jnp.ones((3, QUERIES), bool), text() != 0], axis=1)
    mask = (side[:, None] == side[None])[None, None] & seen[:, None, None, :]
    both = model.querying(model.text.stack, x, context=image().tokens, mask=mask)
    np.testing.assert_allclose(both[:, :QUERIES], outputs()["image"], atol=1e-5)
    np.testing.assert_allclose(both[:, QUERIES:], outputs()["text"], atol=1e-5)


def test_behind_the_queries_a_token_sees_them_and_the_past():
    np.testing.assert_array_equal(
        behind_queries(2, length=3).astype(int),
        [[1, 1, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 1, 0], [1, 1, 1, 1, 1]],
    )


def test_an_image_has_an_embedding_of_unit_norm_for_each_query():
    assert image().embedding.shape == (3, QUERIES, 10)
    np.testing.assert_allclose(np.linalg.norm(image().embedding, axis=-1), 1.0, atol=1e-6)


def test_its_text_tower_is_a_bert_that_alone_says_the_same():
    alone = filled(lambda: Bert(**_without_kind(KWARGS["text"]), rngs=nnx.Rngs(0)))
    nnx.update(alone, nnx.state(make().text))
    np.testing.assert_allclose(alone(text())[1], make().encode_text(text()).tokens, atol=1e-6)


@pytest.mark.slow
def test_cached_logits_are_the_whole_caption_s_at_every_place():
    model, seen = make(), image()
    ids = jnp.int32(np.random.default_rng(1).integers(2, 20, (3, LENGTH))).at[:, 0].set(DECODE)
    whole = jax.jit(lambda seen, ids: following(model, seen, None, ids))(seen, ids)
    first, cache = model.start_caption(seen, length=LENGTH)
    np.testing.assert_array_equal(first, ids[:, 0])
    assert all(leaf.shape[1] == 3 for leaf in jax.tree.leaves(cache))
    step = jax.jit(model.next_token)
    for position in range(LENGTH):
        logits, cache = step(cache, ids[:, position], jnp.int32(position))
        np.testing.assert_allclose(logits, whole[:, position], atol=1e-5)


@pytest.mark.slow
def test_captions_of_beam_search_have_the_probability_that_teacher_forcing_gives_them():
    model, seen = make(), image()
    found = jax.jit(lambda seen: beam(model, seen, num_beams=3))(seen)
    ids = np.asarray(found.ids)
    assert ids.shape == (3, LENGTH) and (ids[:, 0] == DECODE).all()
    log_p = jax.nn.log_softmax(model.decode(seen, None, found.ids))
    own = np.take_along_axis(np.asarray(log_p), ids[:, 1:, None], axis=2)[..., 0]
    written = np.cumsum(ids[:, 1:] == END, axis=1) - (ids[:, 1:] == END) == 0
    np.testing.assert_allclose(found.scores, np.average(own, axis=1, weights=written), atol=1e-5)


@functools.cache
def foreign():
    """A dual encoder whose image tower is the model's, with pooling and projections of its own."""
    text = dict(vocab_size=9, length=4, width=8, depth=1, num_heads=2)
    other = filled(lambda: DualEncoder(image=TOWER, text=text, embed_dim=7, rngs=nnx.Rngs(0)))
    nnx.update(other.image, nnx.state(make().image))
    return other


@functools.cache
def place():
    """The model with a place for its image tower, and the same weights."""
    made = filled(lambda: Blip2(**PLACE, rngs=nnx.Rngs(0)))
    own = nnx.to_pure_dict(nnx.state(make()))
    state = nnx.state(made)
    nnx.replace_by_pure_dict(state, {name: own[name] for name in own if name != "image"})
    nnx.update(made, state)
    return made


def test_a_frozen_tower_is_no_parameter_and_given_it_makes_the_same_model():
    assert place().frozen == ("image",) and "image" not in nnx.to_pure_dict(nnx.state(place()))
    whole = given(place(), {"image": foreign()})
    ours = jax.jit(whole.encode_image)(pictures())
    np.testing.assert_array_equal(ours.embedding, image().embedding)
    assert whole.frozen == () and place().frozen == ("image",)
    assert whole.kwargs["image"] == make().kwargs["image"]
    with pytest.raises(ValueError, match='kind "frozen" must be given before it encodes'):
        place().encode_image(pictures())


def test_a_tower_of_another_kind_width_or_normalisation_is_refused_by_name():
    model = place()

    def tower(image, **settings):
        kwargs = dict(image=image, text=None, embed_dim=7) | settings
        return nnx.eval_shape(lambda: DualEncoder(**kwargs, rngs=nnx.Rngs(0)))

    with pytest.raises(ValueError, match="model.image.width must be that of frozen.image, 8, got"):
        model.given({"image": tower(TOWER | dict(width=8))})
    with pytest.raises(ValueError, match="preprocess.mean and preprocess.std must be those of fro"):
        model.given({"image": tower(TOWER, image_mean=(0.4, 0.5, 0.5))})
    resnet = dict(kind="resnet", image_size=32, layers=(1, 1, 1, 1), width=8, output_dim=7)
    with pytest.raises(ValueError, match='BLIP-2 read the tokens of an image tower of kind "vit"'):
        model.given({"image": tower(resnet, image_projection="none")})


def test_frozen_towers_are_known_by_their_arguments():
    assert frozen_towers(PLACE) == ("image",) and frozen_towers(KWARGS) == ()
    assert with_frozen(PLACE, {"image": {"image": TOWER, "text": None}}) == KWARGS


def test_a_bert_becomes_its_text_tower_and_the_perceptrons_of_its_queries():
    tower = KWARGS["text"] | dict(vocab_size=VOCAB - 1, num_types=2, pooler=True)
    kwargs = dict(image=None, text=tower, embed_dim=12, text_projection="none")
    bert = filled(lambda: DualEncoder(**kwargs, rngs=nnx.Rngs(0)))
    params = jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(bert)))
    settings, params = Blip2.adopted(kwargs, params, wanted=KWARGS)
    own = nnx.to_pure_dict(nnx.state(make()))
    assert settings["text"] == KWARGS["text"]
    assert jax.tree.map(jnp.shape, params["text"]) == jax.tree.map(jnp.shape, own["text"])
    blocks = params["text"]["stack"]["blocks"]
    queries = params["querying"]["blocks"]["perceptrons"]
    for part in ("mlp", "norm2"):
        jax.tree.map(
            lambda q, t: np.testing.assert_array_equal(q.reshape(t.shape), t),
            queries[part],
            blocks[part],
        )
    assert queries["mlp"]["up"]["kernel"].shape == (2, 2, 12, 48)


def test_without_a_head_for_words_it_writes_nothing():
    reader = filled(lambda: Blip2(**KWARGS | dict(writes=False), rngs=nnx.Rngs(0)))
    assert reader.lacks == ("decode", "start_caption")
    for call in (
        lambda: reader.decode(image(), None, text()),
        lambda: reader.start_caption(image(), length=LENGTH),
    ):
        with pytest.raises(ValueError, match="needs a BLIP-2 with a head for words"):
            call()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(cross_every=3), "cross_every must divide the depth 4, got 3"),
        (dict(text=TEXT), 'text of a BLIP-2 must be of kind "bert" with num_types=None'),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        nnx.eval_shape(lambda: Blip2(**KWARGS | changes, rngs=nnx.Rngs(0)))


def test_its_keyword_arguments_build_it_again():
    kwargs = json.loads(json.dumps(make().kwargs))
    assert model_class(kwargs) is Blip2
    again = nnx.eval_shape(lambda: make_model(kwargs, rngs=nnx.Rngs(0)))
    assert again.kwargs == make().kwargs and again.decode_id == DECODE
    shapes = [jax.tree.map(jnp.shape, nnx.state(model)) for model in (again, make())]
    assert shapes[0] == shapes[1]


def _without_kind(tower):
    return {name: value for name, value in tower.items() if name != "kind"}
