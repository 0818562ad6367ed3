"""Matching: the loss, and negatives that follow the softmax of their scores."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from loss_reference import central_differences
from scipy import stats

from vlp.losses import hard_negatives, matching_loss

LOGITS = np.random.default_rng(0).normal(size=(5, 2)) * 3
MATCHES = np.array([True, False, False, True, False])
# The first column is the true match, the fourth no candidate.
SCORES = np.array([3.0, 1.0, 0.0, 9.0, 2.0, -1.0], np.float32)
ALLOWED = np.array([False, True, True, False, True, True])
DRAWS = 4000


def matching_reference(logits, matches):
    chosen = np.where(matches, logits[:, 1], logits[:, 0])
    return np.log(np.exp(logits).sum(axis=1)) - chosen


def draw(keys, floor=0.0):
    tiled = jnp.broadcast_to(jnp.asarray(SCORES), (DRAWS, len(SCORES)))
    allowed = jnp.broadcast_to(jnp.asarray(ALLOWED), tiled.shape)
    return hard_negatives(tiled, allowed=allowed, keys=keys, floor=floor)


def test_values_and_gradients_of_the_loss_are_those_of_the_definition():
    share = np.arange(1.0, 6)
    got = matching_loss(jnp.float32(LOGITS), jnp.asarray(MATCHES))
    np.testing.assert_allclose(got, matching_reference(LOGITS, MATCHES), atol=1e-5)
    gradient = jax.grad(
        lambda x: jnp.sum(matching_loss(x, jnp.asarray(MATCHES)) * jnp.float32(share))
    )(jnp.float32(LOGITS))
    (want,) = central_differences(lambda x: share @ matching_reference(x, MATCHES), [LOGITS])
    np.testing.assert_allclose(gradient, want, atol=1e-5)


@pytest.mark.parametrize("floor", [0.0, 0.05])
def test_draws_follow_the_softmax_of_the_scores_and_never_what_is_not_allowed(floor):
    columns, found = draw(jax.random.split(jax.random.key(0), DRAWS), floor)
    counts = np.bincount(columns, minlength=len(SCORES))
    assert np.all(found) and not counts[~ALLOWED].any()
    softmax = np.exp(SCORES) / np.exp(SCORES).sum() + floor
    want = np.float64(softmax[ALLOWED])
    want = want / want.sum() * DRAWS
    assert stats.chisquare(counts[ALLOWED], want).pvalue > 1e-3


def test_without_keys_it_is_the_highest_score_that_is_allowed():
    columns, _ = draw(None)
    assert np.all(np.asarray(columns) == 4)


def test_a_far_ahead_match_leaves_the_others_their_shares():
    """The softmax of the others is zero in float32; the authors' code then stops."""
    scores = jnp.broadcast_to(jnp.array([500.0, 1.0, 0.0]), (DRAWS, 3))
    allowed = jnp.broadcast_to(jnp.array([False, True, True]), scores.shape)
    keys = jax.random.split(jax.random.key(1), DRAWS)
    columns, found = hard_negatives(scores, allowed=allowed, keys=keys)
    counts = np.bincount(columns, minlength=3)
    want = np.array([np.e, 1]) / (np.e + 1) * DRAWS
    assert np.all(found) and counts[0] == 0
    assert stats.chisquare(counts[1:], want).pvalue > 1e-3


@pytest.mark.parametrize("keys", [None, jax.random.split(jax.random.key(0), 2)])
def test_a_row_without_candidates_says_so(keys):
    allowed = jnp.array([[True, False], [False, False]])
    columns, found = hard_negatives(jnp.zeros((2, 2)), allowed=allowed, keys=keys)
    assert int(columns[0]) == 0 and np.asarray(found).tolist() == [True, False]
