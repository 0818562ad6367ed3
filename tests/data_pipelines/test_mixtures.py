"""How much of a stream each part has: shares that are what they are said to be, exactly."""

from fractions import Fraction

import numpy as np
import pytest

from data_pipelines.mixtures import Mixture, by_temperature, by_weight, within_epochs
from data_pipelines.order import MixedOrder


def test_weights_become_shares_of_a_whole():
    assert by_weight([1, 2, 5]) == [Fraction(1, 8), Fraction(1, 4), Fraction(5, 8)]
    assert by_weight([0.1, 0.2]) == [Fraction(1, 3), Fraction(2, 3)]
    with pytest.raises(ValueError, match="weight of a part must be above 0, got 0.0"):
        by_weight([1, 0])


def test_a_temperature_of_1_is_by_size_and_a_high_one_makes_parts_alike():
    sizes = [10, 1_000, 90]
    assert by_temperature(sizes, 1) == by_weight(sizes)
    powers = np.asarray(sizes) ** (1 / 3.3)
    np.testing.assert_allclose(
        [float(share) for share in by_temperature(sizes, 3.3)], powers / powers.sum(), rtol=1e-8
    )
    np.testing.assert_allclose([float(s) for s in by_temperature(sizes, 1e6)], 1 / 3, rtol=1e-4)
    assert sum(by_temperature(sizes, 7)) == 1
    with pytest.raises(ValueError, match="at least 1, got 0.5"):
        by_temperature(sizes, 0.5)


def filled(shares, sizes, samples, most, least):
    """The same mixture by bisection: each part scaled by one factor and cut off at its limits."""
    low = np.asarray([least.get(i, 0) * n / samples for i, n in enumerate(sizes)])
    high = np.asarray([min(most.get(i, samples) * n / samples, 1) for i, n in enumerate(sizes)])
    below, above = 0.0, 1e9
    for _ in range(300):
        scale = (below + above) / 2
        found = np.clip(scale * np.asarray(shares, float), low, high)
        below, above = (scale, above) if found.sum() < 1 else (below, scale)
    return found


@pytest.mark.parametrize(
    ("most", "least"),
    [
        ({}, {}),
        ({0: 2}, {}),
        ({0: 1, 1: 1.5}, {}),
        ({}, {2: 3}),
        ({0: 2}, {2: 1, 3: 4}),
        ({0: 1, 1: 1, 2: 1}, {3: 1}),
    ],
)
def test_parts_keep_to_their_epochs_and_the_others_share_what_is_left(most, least):
    sizes, samples = [100, 300, 500, 50], 2_000
    shares = by_weight([4, 3, 2, 1])
    found = within_epochs(shares, sizes, samples=samples, most=most, least=least)
    assert sum(found) == 1
    np.testing.assert_allclose(
        [float(share) for share in found], filled(shares, sizes, samples, most, least), atol=1e-9
    )
    mixture = Mixture((100, 400, 900), tuple(found[1:]))
    order = MixedOrder(950, mixture=mixture, seed=0, shuffle=False)
    counts = np.bincount([order.part_of(place)[0] for place in range(samples)], minlength=4)
    for part, size in enumerate(sizes):
        assert counts[part] <= most.get(part, samples) * size + 3
        assert counts[part] >= least.get(part, 0) * size - 3


def test_epochs_that_cannot_be_kept_are_refused():
    for most, least in (({0: 1, 1: 1}, {}), ({}, {0: 20, 1: 20}), ({0: 1}, {0: 2})):
        with pytest.raises(ValueError, match="cannot keep to the epochs of its parts"):
            within_epochs(by_weight([1, 1]), [10, 10], samples=100, most=most, least=least)


def test_a_mixture_of_fractions_is_exact_far_out_in_the_stream():
    mixture = Mixture((5, 9), tuple(by_weight([3, 7, 11])[1:]))
    order = MixedOrder(20, mixture=mixture, seed=0, shuffle=False)
    far = 21 * 10**15
    counts = np.bincount([order.part_of(far + place)[0] for place in range(2_100)])
    assert counts.tolist() == [300, 700, 1_100]
    assert mixture.to_json() == [5, 9, "1/3", "11/21"]
    assert [mixture.part(index) for index in (0, 4, 5, 8, 9, 19)] == [0, 0, 1, 1, 2, 2]
