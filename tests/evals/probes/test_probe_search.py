"""The coarse-to-fine search finds the peak of a curve with one, and asks for few of its places."""

import pytest

from vlp.evals.probes.search import peak


@pytest.mark.parametrize("top", [0, 1, 37, 50, 95, 96])
def test_the_peak_of_a_curve_is_found_with_few_scores(top):
    asked = []

    def score(places):
        asked.extend(places)
        return {place: 1000 - abs(place - top) for place in places}

    assert peak(97, score) == top
    assert len(asked) == len(set(asked)) <= 7 + 2 * 4


def test_the_first_round_is_asked_at_once():
    asked = []

    def score(places):
        asked.append(list(places))
        return {place: 1.0 for place in places}

    assert peak(97, score) == 0  # all equal: the first of the grid
    assert asked[0] == [0, 16, 32, 48, 64, 80, 96]
    assert asked[1:] == [[8], [4], [2], [1]]


def test_where_nothing_is_right_the_very_first_is_taken():
    assert peak(97, lambda places: dict.fromkeys(places, 0.0)) == 0


def test_a_tie_goes_to_the_left():
    """As published: of [left, peak, right] the first of the best."""
    flat = range(30, 60)
    assert peak(97, lambda places: {place: 1.0 + (place in flat) for place in places}) == 30
