"""Mining in a batch: never a true match, and the same on any number of devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vlp.objectives.common.mining import mine, true_matches
from vlp.parallel.ids import id_words
from vlp.parallel.mesh import make_mesh
from vlp.parallel.sharding import batch_sharding

N = 16
# Samples 0 and 5 are the same one; 2 and 9 have one caption; 3 is absent.
IDS = np.arange(N, dtype=np.int32)
IDS[5] = 0
TEXT = np.random.default_rng(0).integers(2, 50, (N, 4), np.int32)
TEXT[9] = TEXT[2]
WEIGHT = np.ones(N, np.float32)
WEIGHT[3] = 0


def matches(ids=IDS):
    return true_matches(
        jnp.asarray(TEXT), ids=jnp.asarray(id_words(ids)), weight=jnp.asarray(WEIGHT)
    )


def scores():
    """True matches score far above all others, so that any leak would be drawn."""
    noise = np.random.default_rng(1).normal(size=(N, N))
    return jnp.float32(noise + 20 * np.asarray(matches()))


def test_matches_are_equal_samples_and_equal_captions_and_what_is_absent():
    want = np.eye(N, dtype=bool)
    want[0, 5] = want[5, 0] = want[2, 9] = want[9, 2] = True
    want[3] = want[:, 3] = True
    np.testing.assert_array_equal(matches(), want)


def test_samples_are_told_apart_by_all_64_bits_of_their_numbers():
    far = IDS.astype(np.int64) + np.arange(N) // 8 * 2**32
    far[5] = far[0]
    np.testing.assert_array_equal(matches(far), matches())
    apart = np.where(np.arange(N) == 5, far + 2**32, far)
    assert not matches(apart)[0, 5]


@pytest.mark.parametrize("choice", ["sampled", "hardest"])
def test_a_true_match_is_never_mined(choice):
    given, wrong = matches(), scores()
    run = jax.jit(lambda key: mine(wrong, matches=given, key=key, choice=choice))
    for seed in range(50):
        columns, found = run(jax.random.key(seed))
        assert np.asarray(found).tolist() == [i != 3 for i in range(N)]
        mined = np.asarray(given)[np.arange(N), np.asarray(columns)]
        assert not mined[np.asarray(found)].any()


def test_eight_devices_mine_what_one_does():
    def run(scores, text, ids, weight, key):
        given = true_matches(text, ids=ids, weight=weight)
        return mine(scores, matches=given, key=key)

    arrays = (scores(), jnp.asarray(TEXT), jnp.asarray(id_words(IDS)), jnp.asarray(WEIGHT))
    mesh = make_mesh()
    spread = jax.device_put(arrays, batch_sharding(mesh))
    compiled = jax.jit(run)
    for seed in range(20):
        want = compiled(*arrays, jax.random.key(seed))
        got = compiled(*spread, jax.random.key(seed))
        jax.tree.map(np.testing.assert_array_equal, got, want)


def test_an_unknown_choice_is_refused():
    with pytest.raises(ValueError, match="one of sampled, hardest, got 'random'"):
        mine(scores(), matches=matches(), key=jax.random.key(0), choice="random")
