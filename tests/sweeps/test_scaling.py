"""Power laws: found again where they are, and not where there is nothing to find."""

import numpy as np
import pytest

from vlp.sweeps.scaling import power_law


def test_a_law_is_found_again():
    xs = [1e3, 3e3, 1e4, 1e5, 1e6]
    law = power_law(xs, [2.5 * x**-0.2 for x in xs])
    assert (law.factor, law.exponent, law.r2) == pytest.approx((2.5, -0.2, 1.0))
    assert law(1e8) == pytest.approx(2.5 * 1e8**-0.2)


def test_noise_lowers_what_the_law_explains():
    xs = np.geomspace(1, 100, 12)
    noise = np.exp(np.random.default_rng(0).normal(0, 0.3, 12))
    assert 0.3 < power_law(xs.tolist(), (xs**-0.3 * noise).tolist()).r2 < 0.95


@pytest.mark.parametrize(
    ("xs", "errors"),
    [
        ([1, 2, 3, 4], [0.5] * 4),
        ([1, 2, 3, 4, 4], [0.5, 0.4, 0.3, 0.2, 0.2]),
        ([1, 2, 3, 4, 5], [0.5, 0.4, 0.3, 0.2, 0.0]),
        ([0, 1, 2, 3, 4], [0.5, 0.4, 0.3, 0.2, 0.1]),
    ],
)
def test_fewer_than_five_points_with_errors_are_no_law(xs, errors):
    assert power_law(xs, errors) is None


def test_a_constant_error_is_a_law_without_slope():
    law = power_law([1, 2, 3, 4, 5], [0.5] * 5)
    assert (law.factor, law.exponent) == pytest.approx((0.5, 0.0))
