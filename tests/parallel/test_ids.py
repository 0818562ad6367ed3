"""Sample numbers of any size in the integers of a device."""

import numpy as np

from vlp.parallel.ids import device_ids, id_words

LARGEST = 2**31 - 1


def test_numbers_below_two_billion_and_no_number_stay_as_they_are():
    ids = np.array([-1, 0, 1, 12345, LARGEST - 1, LARGEST])
    folded = device_ids(ids)
    assert folded.dtype == np.int32
    np.testing.assert_array_equal(folded, ids)


def test_numbers_above_are_never_negative_and_hardly_ever_meet():
    rng = np.random.default_rng(0)
    ids = np.unique(rng.integers(0, 2**40, 20_000))
    folded = device_ids(ids)
    assert folded.min() >= 0
    assert len(np.unique(folded)) >= len(ids) - 3
    in_a_row = device_ids(np.arange(2**31 - 500, 2**31 + 500))
    assert len(np.unique(in_a_row)) == 1000
    apart = device_ids(np.array([7, 7 + 2**31, 7 + 2**32, 7 + 2**33]))
    assert len(np.unique(apart)) == 4


def test_the_words_hold_numbers_of_any_size():
    numbers = np.array([5, 2**32 + 5, -1, 2**63 - 1])
    words = id_words(numbers)
    assert words.dtype == np.int32 and words.shape == (4, 2)
    low, high = words.astype(np.int64).T
    np.testing.assert_array_equal((high << 32) | (low & 0xFFFFFFFF), numbers)
