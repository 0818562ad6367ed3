"""What is drawn for an image follows from its place, in data sets of any size."""

import jax
import jax.numpy as jnp
import numpy as np

from vlp.generation import draws


def test_places_below_32_bits_are_themselves_and_none_is_another():
    near = [0, 1, 2**31 - 1, 2**31, 2**31 + 1, 2**32 - 1]
    assert draws(np.asarray(near)).tolist() == near
    far = [place + (high << 32) for place in near for high in (1, 2, 2**20)]
    found = draws(np.asarray(near + far, np.int64))
    assert found.dtype == np.uint32 and len(set(found.tolist())) == len(near + far)


def test_an_index_draws_what_the_same_number_of_31_bits_draws():
    key = jax.random.key(3)
    for place in (0, 7, 2**31 - 1):
        drawn = [
            jax.random.fold_in(key, jnp.asarray(number))
            for number in (np.int32(place), draws(np.asarray([place]))[0])
        ]
        assert drawn[0] == drawn[1]
