"""BERT's masks: how many, which, and on whose account."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vlp.objectives.common.masking import mask_tokens

ROWS, LENGTH, VOCAB, MASK, PAD = 4000, 12, 30, 29, 0
SETTINGS = dict(mask_id=MASK, pad_id=PAD, vocab_size=VOCAB)


def texts():
    """Begin, words, and padding from the tenth place on."""
    text = np.random.default_rng(0).integers(3, 29, (ROWS, LENGTH), np.int32)
    text[:, 0], text[:, 9:] = 1, PAD
    return text


def masked(text, seed=0, **settings):
    keys = jax.random.split(jax.random.key(seed), len(text))
    shown, targets = mask_tokens(jnp.asarray(text), keys=keys, **SETTINGS | settings)
    return np.asarray(shown), np.asarray(targets)


def test_targets_are_the_hidden_tokens_and_all_else_is_as_it_was():
    text = texts()
    shown, targets = masked(text)
    chosen = targets != PAD
    np.testing.assert_array_equal(targets[chosen], text[chosen])
    np.testing.assert_array_equal(shown[~chosen], text[~chosen])


def test_the_first_token_and_padding_are_never_chosen():
    _, targets = masked(texts(), probability=0.9)
    assert not targets[:, 0].any() and not targets[:, 9:].any()


@pytest.mark.parametrize("probability", [0.15, 0.5])
def test_shares_are_the_papers(probability):
    text = texts()
    shown, targets = masked(text, probability=probability)
    words, chosen = text[:, 1:9], targets[:, 1:9] != PAD
    shown = shown[:, 1:9]
    assert abs(chosen.mean() - probability) < 0.01
    count = chosen.sum()
    kept = (shown == words)[chosen].mean()
    is_mask = (shown == MASK)[chosen].mean()
    error = 4 / np.sqrt(count)
    assert abs(is_mask - (0.8 + 0.1 / 29)) < error  # a random token may be the mask
    assert abs(kept - (0.1 + 0.1 / 29)) < error


def test_random_tokens_are_any_but_padding():
    shown, targets = masked(texts(), probability=1.0)
    assert not (shown[:, :9] == PAD).any()
    assert set(range(1, VOCAB)) == set(np.unique(shown[targets != PAD]))


def test_a_texts_masks_do_not_depend_on_the_others():
    text = texts()[:8]
    keys = jax.random.split(jax.random.key(3), 8)
    whole, _ = mask_tokens(jnp.asarray(text), keys=keys, **SETTINGS)
    half, _ = mask_tokens(jnp.asarray(text[4:]), keys=keys[4:], **SETTINGS)
    np.testing.assert_array_equal(whole[4:], half)
