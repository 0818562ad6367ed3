import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.filled import filled
from vlp.models import TextTransformer

EOS, PAD, LENGTH, WIDTH = 1, 0, 8, 16
TOWER = dict(vocab_size=30, length=LENGTH, width=WIDTH, depth=2, num_heads=2)
BIDIRECTIONAL = dict(causal=False, mask_padding=True)


def make(**kwargs):
    return filled(lambda: TextTransformer(**{**TOWER, **kwargs}, rngs=nnx.Rngs(0)))


def captions():
    rows = [[5, 6, 7, EOS], [9, EOS], [8, 2, 3, 4, EOS]]
    return jnp.int32([row + [PAD] * (LENGTH - len(row)) for row in rows])


def seen_by(tower, position):
    """Which input positions influence the token at `position`, by the gradient."""
    x = tower.embed(captions())
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(tower.stack(x)[:, position])))(x)
    return (jnp.abs(gradient).max((0, 2)) > 0).tolist()


def test_a_causal_token_depends_on_itself_and_earlier_ones_only():
    assert seen_by(make(), 3) == [True] * 4 + [False] * 4
    assert seen_by(make(causal=False), 3) == [True] * 8


def test_trimming_after_the_end_of_text_is_exact_for_a_causal_tower():
    tower = make()
    whole, tokens = tower(captions())
    trimmed, fewer = tower(captions()[:, :5])
    np.testing.assert_allclose(trimmed, whole, atol=1e-6)
    np.testing.assert_allclose(fewer, tokens[:, :5], atol=1e-6)


@pytest.mark.parametrize("pool", ["mean", "cls"])
def test_trimming_is_exact_for_a_bidirectional_tower_that_masks_padding(pool):
    tower = make(pool=pool, **BIDIRECTIONAL)
    np.testing.assert_allclose(tower(captions()[:, :5])[0], tower(captions())[0], atol=1e-6)


def test_end_of_text_pooling_takes_the_first_one_whatever_follows():
    tower = make()
    pooled, tokens = tower(captions())
    np.testing.assert_array_equal(pooled[1], tokens[1, 1])
    padded_by_eos = jnp.where(captions() == PAD, EOS, captions())
    np.testing.assert_allclose(tower(padded_by_eos)[0], pooled, atol=1e-6)


def test_a_caption_without_end_of_text_is_pooled_at_its_first_position():
    text = captions().at[0].set(7)
    pooled, tokens = make()(text)
    np.testing.assert_array_equal(pooled[0], tokens[0, 0])


def test_the_other_poolings_take_what_they_say():
    pooled, tokens = make(pool="last", causal=False)(captions())
    np.testing.assert_array_equal(pooled, tokens[:, -1])
    pooled, tokens = make(pool="mean", **BIDIRECTIONAL)(captions())
    np.testing.assert_allclose(pooled[1], tokens[1, :2].mean(0), atol=1e-6)
    pooled, tokens = make(pool="cls", **BIDIRECTIONAL)(captions())
    assert tokens.shape[1] == LENGTH + 1
    np.testing.assert_array_equal(pooled, tokens[:, 0])


def test_the_largest_id_is_the_end_of_text_where_the_tokenizer_puts_it_last():
    text = jnp.where(captions() == EOS, 29, captions())
    pooled, tokens = make(pool="argmax")(text)
    for row, place in enumerate((3, 1, 4)):
        np.testing.assert_array_equal(pooled[row], tokens[row, place])
    np.testing.assert_allclose(make(pool="eot", eos_id=29)(text)[0], pooled, atol=1e-6)


def test_the_first_position_is_pooled_as_it_is():
    pooled, tokens = make(pool="first", causal=False)(captions())
    np.testing.assert_array_equal(pooled, tokens[:, 0])


def test_a_class_token_behind_the_caption_sees_its_words_and_leaves_the_tokens():
    tower = make(pool="cls_last")
    pooled, tokens = tower(captions())
    states = tower.hidden_states(captions())
    assert tokens.shape[1] == LENGTH and states.shape == (3, 3, LENGTH + 1, WIDTH)
    np.testing.assert_allclose(tokens, states[-1][:, :-1], atol=1e-5)
    np.testing.assert_allclose(pooled, tower.norm(states[-1][:, -1]), atol=1e-5)
    first = tower.class_token[...] + tower.positions[...][-1]
    np.testing.assert_allclose(states[0][1, -1], first, atol=1e-6)


def test_a_class_token_behind_sees_one_token_of_padding_and_itself_in_full_rows_only():
    """The mask of CoCa's released weights."""
    tower = make(pool="cls_last")
    x, present = tower.embed(captions()), tower._visible(captions())

    def pooled(x):
        return jnp.sum(tower.stack(x, mask=present)[1, -1])

    # The class token's own gradient is never zero: it is on the residual stream.
    seen = jnp.abs(jax.jit(jax.grad(pooled))(x)[1]).max(-1) > 0
    assert seen.tolist() == [True, True, True] + [False] * 5 + [True]
    assert present[1].tolist() == [True, True, True] + [False] * 6
    full = jnp.full((1, LENGTH), 5)
    assert bool(tower._visible(full).all())


def test_hidden_states_begin_with_the_embedded_words_and_end_before_the_last_norm():
    tower = make(pool="mean", **BIDIRECTIONAL)
    states = tower.hidden_states(captions())
    np.testing.assert_allclose(states[0], tower.embed(captions()), atol=1e-6)
    np.testing.assert_allclose(tower.norm(states[-1]), tower(captions())[1], atol=1e-5)


def test_padding_is_seen_by_attention_unless_masked():
    for mask, same in ((False, False), (True, True)):
        tower = make(pool="mean", causal=False, mask_padding=mask, pad_id=17)
        text = jnp.where(captions() == PAD, 17, captions())
        moved = tower.positions[...].at[-1].multiply(-3.0)
        before = tower(text)[0]
        tower.positions[...] = moved
        assert np.allclose(tower(text)[0], before, atol=1e-6) == same


def test_bfloat16_compute_is_near_float32():
    exact, _ = make()(captions())
    near, tokens = make(dtype="bfloat16")(captions())
    assert tokens.dtype == jnp.bfloat16
    assert float(jnp.abs(near.astype(jnp.float32) - exact).max()) < 0.1


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="pool must be one of eot, argmax, first, .*, got 'max'"):
        make(pool="max")
    with pytest.raises(ValueError, match='pool="cls" needs causal=False'):
        make(pool="cls")
    with pytest.raises(ValueError, match="at most 8 tokens, got 9"):
        make()(jnp.ones((2, 9), jnp.int32))
