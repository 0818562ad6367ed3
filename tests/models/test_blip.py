"""BLIP: what its three modes see, what they share, and what a model of one mode refuses."""

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
from vlp.models import Bert, Blip, DualEncoder
from vlp.models.build import model_class

LENGTH, VOCAB, END, DECODE, ENCODE = 6, 22, 1, 20, 21
KWARGS = dict(
    image=dict(image_size=8, patch_size=4, width=16, depth=1, num_heads=2),
    text=dict(kind="bert", vocab_size=VOCAB, length=LENGTH, width=12, depth=2, num_heads=2)
    | dict(num_types=None, pooler=False),
    modes=["encode", "decode"],
    embed_dim=10,
    end_id=END,
)
WRITER = KWARGS | dict(
    text=KWARGS["text"] | dict(causal=True),
    modes=["decode"],
    embed_dim=16,
    image_projection="none",
)


@functools.cache
def make(modes="both"):
    kwargs = {"both": KWARGS, "decode": WRITER, "encode": KWARGS | dict(modes=["encode"])}[modes]
    return filled(lambda: Blip(**kwargs, rngs=nnx.Rngs(0)), seed=3)


@functools.cache
def image(modes="both"):
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)
    return jax.jit(make(modes).encode_image)(jnp.asarray(images))


def text():
    return jnp.int32([[2, 4, 5, 1, 0, 0], [2, 6, 1, 0, 0, 0], [2, 7, 8, 9, 3, 1]])


@functools.cache
def outputs():
    """The three modes as one function of the image's tokens and the text."""

    model, usual = make(), image()

    @jax.jit
    def run(tokens, text):
        seen = usual._replace(tokens=tokens)
        caption = model.encode_text(text)
        return dict(
            text=caption.tokens,
            match=model.match(seen, caption, text),
            words=following(model, seen, None, text),
        )

    return run


def test_matching_and_writing_read_every_token_of_the_image_and_the_text_alone_none():
    usual = outputs()(image().tokens, text())
    for token in range(5):
        other = outputs()(image().tokens.at[:, token].add(1.0), text())
        np.testing.assert_array_equal(other["text"], usual["text"])
        assert np.abs(other["match"] - usual["match"]).max(axis=1).min() > 1e-5
        assert np.abs(other["words"] - usual["words"]).max(axis=(1, 2)).min() > 1e-5


def test_only_what_is_written_knows_nothing_of_later_words():
    usual, other = (outputs()(image().tokens, x) for x in (text(), text().at[2, 4].set(11)))
    np.testing.assert_array_equal(other["words"][:, :4], usual["words"][:, :4])
    assert np.abs(other["words"][2, 4] - usual["words"][2, 4]).max() > 1e-4
    assert np.abs(other["text"][2, 0] - usual["text"][2, 0]).max() > 1e-4
    assert np.abs(other["match"][2] - usual["match"][2]).max() > 1e-5


def test_padding_is_hidden():
    usual = outputs()(image().tokens, text())
    two = jax.tree.map(lambda x: x[:2], image())
    short = text()[:2, :4]
    np.testing.assert_allclose(make().match(two, two, short), usual["match"][:2], atol=1e-5)


def test_matching_and_writing_begin_with_a_token_of_their_own():
    usual = outputs()(image().tokens, text())
    for first in (DECODE, ENCODE):
        other = outputs()(image().tokens, text().at[:, 0].set(first))
        np.testing.assert_array_equal(other["match"], usual["match"])
        np.testing.assert_array_equal(other["words"], usual["words"])
        assert np.abs(other["text"] - usual["text"]).max() > 1e-3


def test_all_is_shared_but_the_self_attention_of_the_writer_and_the_heads():
    both, encode = (nnx.to_pure_dict(nnx.state(make(modes))) for modes in ("both", "encode"))
    own = {"writer", "norm_writer"}
    assert set(both["grounding"]["blocks"]) - set(encode["grounding"]["blocks"]) == own
    assert set(both) - set(encode) == {"token_head"}
    assert set(nnx.to_pure_dict(nnx.state(make("decode")))["grounding"]["blocks"]).isdisjoint(own)


@pytest.mark.parametrize("modes", ["both", "decode"])
def test_cached_logits_are_the_whole_caption_s_at_every_place(modes):
    model, seen = make(modes), image(modes)
    ids = jnp.int32(np.random.default_rng(1).integers(2, 20, (3, LENGTH))).at[:, 0].set(DECODE)
    whole = jax.jit(lambda seen, ids: following(model, seen, None, ids))(seen, ids)
    first, cache = model.start_caption(seen, length=LENGTH)
    np.testing.assert_array_equal(first, ids[:, 0])
    assert all(leaf.shape[1] == 3 for leaf in jax.tree.leaves(cache))
    step = jax.jit(model.next_token)
    for position in range(LENGTH):
        logits, cache = step(cache, ids[:, position], jnp.int32(position))
        np.testing.assert_allclose(logits, whole[:, position], atol=1e-5)


def test_captions_of_beam_search_have_the_probability_that_teacher_forcing_gives_them():
    model, seen = make(), image()
    found = jax.jit(lambda seen: beam(model, seen, num_beams=3))(seen)
    ids = np.asarray(found.ids)
    assert ids.shape == (3, LENGTH) and (ids[:, 0] == DECODE).all()
    log_p = jax.nn.log_softmax(model.decode(seen, None, found.ids))
    own = np.take_along_axis(np.asarray(log_p), ids[:, 1:, None], axis=2)[..., 0]
    written = np.cumsum(ids[:, 1:] == END, axis=1) - (ids[:, 1:] == END) == 0
    np.testing.assert_allclose(found.scores, np.average(own, axis=1, weights=written), atol=1e-5)


def test_its_text_tower_is_a_bert_that_alone_says_the_same():
    alone = filled(lambda: Bert(**_without_kind(KWARGS["text"]), rngs=nnx.Rngs(0)))
    nnx.update(alone, nnx.state(make().text))
    np.testing.assert_allclose(alone(text())[1], make().encode_text(text()).tokens, atol=1e-6)


def test_a_bert_becomes_its_text_tower_and_its_writer():
    tower = KWARGS["text"] | dict(vocab_size=VOCAB - 2, num_types=2, pooler=True)
    kwargs = dict(image=None, text=tower, embed_dim=12, text_projection="none")
    bert = filled(lambda: DualEncoder(**kwargs, rngs=nnx.Rngs(0)))
    given, params = Blip.adopted(kwargs, nnx.to_pure_dict(nnx.state(bert)), wanted=KWARGS)
    own = nnx.to_pure_dict(nnx.state(make()))
    assert jax.tree.map(jnp.shape, params["text"]) == jax.tree.map(jnp.shape, own["text"])
    assert given["text"] == KWARGS["text"]
    alone = nnx.eval_shape(lambda: Bert(**_without_kind(given["text"]), rngs=nnx.Rngs(0)))
    state = nnx.state(alone)
    nnx.replace_by_pure_dict(state, jax.tree.map(jnp.asarray, params["text"]))
    nnx.update(alone, state)
    np.testing.assert_allclose(alone(text())[1], bert.text(text())[1], atol=1e-6)
    for name, array in params["grounding"]["blocks"]["writer"]["qkv"].items():
        np.testing.assert_array_equal(
            array, params["text"]["stack"]["blocks"]["attention"]["qkv"][name]
        )


def test_a_blip_is_adopted_as_it_is():
    params = nnx.to_pure_dict(nnx.state(make()))
    kwargs, same = Blip.adopted(make().kwargs, params, wanted=KWARGS)
    assert kwargs == make().kwargs and same is params


def test_a_model_of_one_mode_refuses_the_other_by_name():
    writer, reader = make("decode"), make("encode")
    with pytest.raises(ValueError, match='needs a BLIP for "encode", and this one is for "decode"'):
        writer.encode_text(text())
    with pytest.raises(ValueError, match='needs a BLIP for "encode"'):
        writer.match(image("decode"), image("decode"), text())
    for call in (
        lambda: reader.decode(image("encode"), None, text()),
        lambda: reader.start_caption(image("encode"), length=LENGTH),
    ):
        with pytest.raises(ValueError, match='needs a BLIP for "decode", and this one is for'):
            call()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(modes=["write"]), r"modes must be a list of some of encode, decode, got \['write'\]"),
        (dict(modes="encode"), "modes must be a list"),
        (dict(text=KWARGS["text"] | dict(pooler=True)), "text.pooler of a BLIP .* must be False"),
        (dict(text=KWARGS["text"] | dict(causal=True)), "text.causal of a BLIP .* must be False"),
        (dict(WRITER, text=KWARGS["text"]), "text.causal of a BLIP .* must be True"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        nnx.eval_shape(lambda: Blip(**KWARGS | changes, rngs=nnx.Rngs(0)))


@pytest.mark.parametrize("modes", ["both", "encode", "decode"])
def test_its_keyword_arguments_build_it_again(modes):
    kwargs = json.loads(json.dumps(make(modes).kwargs))
    assert model_class(kwargs) is Blip
    again = nnx.eval_shape(lambda: Blip(**kwargs, rngs=nnx.Rngs(0)))
    assert again.kwargs == make(modes).kwargs and (again.encode_id, again.decode_id) == (21, 20)
    assert jax.tree.map(jnp.shape, nnx.state(again)) == jax.tree.map(
        jnp.shape, nnx.state(make(modes))
    )


def _without_kind(tower):
    return {name: value for name, value in tower.items() if name != "kind"}
