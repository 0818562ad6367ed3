"""Ways to write captions by name."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.table_model import TableModel, images
from vlp.generation import METHODS, Method, beam, nucleus, prompt_tokens


def test_a_method_is_its_function_with_its_settings():
    model, image, ids = TableModel(), images(6), jnp.arange(6)
    found = Method.of("beam", num_beams=2, min_length=3)(model, image, ids)
    np.testing.assert_array_equal(found.ids, beam(model, image, num_beams=2, min_length=3).ids)
    drawn = Method.of("nucleus", seed=3, top_p=0.8)(model, image, ids)
    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(3), i))(ids)
    wanted = nucleus(model, image, keys=keys, top_p=0.8)
    np.testing.assert_array_equal(drawn.ids, wanted.ids)


@pytest.mark.parametrize("name", METHODS)
def test_settings_are_written_out_and_equal_methods_are_one(name):
    method = Method.of(name, length=5)
    assert dict(method.settings)["length"] == 5 and dict(method.settings)["min_length"] == 0
    assert method == Method.of(name, length=5, min_length=0)
    assert hash(method) == hash(Method.of(name, length=5, min_length=0))
    assert method != Method.of(name, length=4) and method != Method.of(name, length=5, seed=1)


def test_a_prompt_is_the_tokens_between_the_first_and_the_end():
    def tokenize(texts):
        rows = [[2, *map(int, text.split()), 1] for text in texts]
        return np.array([[*row[:7], *[0] * (8 - len(row)), 1][:8] for row in rows])

    assert prompt_tokens("5 4", tokenize=tokenize, end_id=1) == (5, 4)
    assert prompt_tokens(" ", tokenize=tokenize, end_id=1) == ()
    with pytest.raises(ValueError, match="fewer than 6 tokens, .* got '3 3 3 3 3 3 3'"):
        prompt_tokens("3 3 3 3 3 3 3", tokenize=tokenize, end_id=1)


def test_what_is_written_stands_behind_the_prefix():
    ids = np.arange(12).reshape(2, 6)
    np.testing.assert_array_equal(Method.of("beam").written(ids), ids[:, 1:])
    np.testing.assert_array_equal(Method.of("beam", prefix=(3, 5)).written(ids), ids[:, 3:])


def test_unknown_methods_and_settings_are_refused():
    with pytest.raises(ValueError, match="method must be one of greedy, beam, nucleus, got 'best'"):
        Method.of("best")
    with pytest.raises(ValueError, match="top_p is no setting of beam, which has num_beams"):
        Method.of("beam", top_p=0.9)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_is_in_the_range_of_that_of_training(seed):
    with pytest.raises(ValueError, match=f"seed must be 0 to 2\\^32 - 1, got {seed}"):
        Method.of("nucleus", seed=seed)
