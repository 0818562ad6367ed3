"""Metrics as functions of how often samples count, beside loops over samples drawn so often."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlp.evals.average_precision import mean_average_precision
from vlp.evals.measures import class_mean, intervals, macro_f1, part_intervals, quotient, worst

K = 4


def f1_of(labels, said, classes):
    found = []
    for k in classes:
        hits = sum(a == k == b for a, b in zip(labels, said, strict=True))
        claimed, there = (said == k).sum(), (labels == k).sum()
        precision = hits / claimed if claimed else 0.0
        recall = hits / there if there else 0.0
        found.append(2 * precision * recall / (precision + recall) if hits else 0.0)
    return np.mean(found)


def precision_of(scores, truth, *, won):
    """Average precision of one class by going through the list; of ties the wrong ones first."""
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], truth[i] != won))
    hits, found = 0, []
    for place, i in enumerate(order, start=1):
        hits += truth[i]
        if truth[i]:
            found.append(hits / place)
    return np.mean(found) if found else np.nan


def every_measure(scores, labels, truth):
    """All measures of samples, by name."""
    said, right = scores.argmax(axis=1), scores.argmax(axis=1) == labels
    return {
        "quotient": quotient(right, 1 + labels),
        "class_mean": class_mean(right, labels, num_classes=K),
        "f1": macro_f1(labels, said, num_classes=K),
        "f1_either": macro_f1(labels, said, num_classes=K, over="either"),
        "worst": worst(right, labels - 1),
        "mAP": mean_average_precision(scores, truth),
        "mAP_occurring": mean_average_precision(scores, truth, over="occurring"),
    }


def some(seed, n=20):
    rng = np.random.default_rng(seed)
    scores = rng.integers(4, size=(n, K)) / 4
    return scores, rng.integers(K, size=n), rng.random((n, K)) < 0.3


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10**6))
def test_a_sample_that_counts_twice_is_a_sample_that_is_there_twice(seed):
    scores, labels, truth = some(seed)
    often = np.random.default_rng(seed).integers(3, size=len(labels))
    places = np.repeat(np.arange(len(labels)), often)
    drawn = every_measure(scores[places], labels[places], truth[places])
    for name, measure in every_measure(scores, labels, truth).items():
        once = np.ones(len(places))
        want = drawn[name].of(once)
        assert measure.of(often.astype(float)) == pytest.approx(want, nan_ok=True), name
        if measure.if_hit is not None:
            assert measure.if_hit(often.astype(float)) == pytest.approx(
                drawn[name].if_hit(once), nan_ok=True
            )


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10**6))
def test_macro_f1_is_the_mean_of_the_harmonic_means(seed):
    scores, labels, _ = some(seed, 7)
    said, once = scores.argmax(axis=1), np.ones(7)
    occurring, either = sorted({*labels}), sorted({*labels, *said})
    found = [macro_f1(labels, said, num_classes=K, over=over).of(once)
             for over in ("occurring", "either")]  # fmt: skip
    assert found == pytest.approx([f1_of(labels, said, occurring), f1_of(labels, said, either)])


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10**6))
def test_average_precision_is_that_of_going_through_the_list(seed):
    scores, _, truth = some(seed, 9)
    once = np.ones(9)
    for won in (False, True):
        each = np.array(
            [precision_of(s, t, won=won) for s, t in zip(scores.T, truth.T, strict=True)]
        )
        for over, want in (
            ("either", np.nan_to_num(each).mean()),
            ("occurring", np.mean(each[~np.isnan(each)]) if truth.any() else np.nan),
        ):
            measure = mean_average_precision(scores, truth, over=over)
            of = measure.if_hit if won else measure.of
            assert of(once) == pytest.approx(want, nan_ok=True)


def test_average_precision_of_nan_adds_nothing_and_stands_in_front_where_it_is_wrong():
    truth = np.array([[True], [False], [True]])
    found = mean_average_precision(np.array([[0.9], [0.5], [np.nan]]), truth)
    assert found.of(np.ones(3)) == found.if_hit(np.ones(3)) == 1 / 2
    found = mean_average_precision(np.array([[0.9], [np.nan], [0.1]]), truth)
    assert found.of(np.ones(3)) == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert found.if_hit(np.ones(3)) == 1.0


def test_the_chance_of_average_precision_is_the_mean_over_all_orders():
    from itertools import permutations

    truth = np.array([True, True, False, False, False])
    orders = {order for order in permutations(truth.tolist())}
    want = np.mean([precision_of(np.arange(5)[::-1], order, won=False) for order in orders])
    found = mean_average_precision(np.zeros((5, 1)), truth[:, None])
    assert found.chance == pytest.approx(want)
    assert mean_average_precision(np.zeros((1, 1)), np.ones((1, 1), bool)).chance == 1.0


def test_what_is_not_defined_is_nan_and_has_no_interval():
    nothing = {
        "quotient": quotient(np.zeros(3), np.zeros(3)),
        "worst": worst(np.ones(3, bool), np.full(3, -1)),
        "mAP": mean_average_precision(np.zeros((3, 2)), np.zeros((3, 2), bool), over="occurring"),
    }
    assert all(np.isnan(measure.of(np.ones(3))) for measure in nothing.values())
    assert intervals(nothing, samples=3, draws=20) == {}
    none = mean_average_precision(np.zeros((3, 2)), np.zeros((3, 2), bool))
    assert none.of(np.ones(3)) == 0.0 == none.chance


def test_over_must_be_known():
    labels = np.zeros(2, int)
    with pytest.raises(ValueError, match="over must be one of occurring, either, got 'all'"):
        macro_f1(labels, labels, num_classes=1, over="all")
    with pytest.raises(ValueError, match="over must be one of"):
        mean_average_precision(np.zeros((2, 1)), np.ones((2, 1), bool), over="all")


def test_an_interval_holds_the_share_of_coins_it_should():
    rng = np.random.default_rng(0)
    inside = 0
    for seed in range(60):
        coins = quotient(rng.random(100) < 0.4)
        low, high = intervals({"coin": coins}, samples=100, draws=200, seed=seed)["coin"]
        inside += low <= 0.4 <= high
    assert 52 <= inside <= 60


def test_of_two_parts_there_are_three_draws_and_each_is_computed_once():
    asked = []

    def values(counts):
        asked.append(tuple(counts))
        return {"first": counts[0] / 2, "same": 0.25, "never": float("nan")}

    found = part_intervals(values, parts=2, draws=200)
    assert sorted(asked) == [(0, 2), (1, 1), (2, 0)]
    # One in four draws has the first part twice, and one in four never.
    assert found == {"first": (0.0, 1.0), "same": (0.25, 0.25)}


@pytest.mark.parametrize(
    ("parts", "low", "high"),
    [
        (3, 0, 3),  # drawn three times of three: once in 27 draws, more often than once in 40
        (4, 0, 3),  # four times of four: once in 256; three times or more: once in 20
    ],
)
def test_an_interval_over_parts_has_the_ends_of_how_often_a_part_is_drawn(parts, low, high):
    found = part_intervals(lambda counts: {"first": counts[0]}, parts=parts, draws=4000)
    assert found["first"] == (low, high)


def test_the_same_seed_draws_the_same_parts_and_another_one_others():
    values = lambda counts: {"sum": float(counts @ np.arange(30))}  # noqa: E731
    first, again, other = (
        part_intervals(values, parts=30, draws=50, seed=seed) for seed in (0, 0, 1)
    )
    assert first == again != other


@pytest.mark.parametrize(("parts", "draws"), [(0, 10), (1, 10), (2, 0)])
def test_a_single_part_says_nothing_of_others(parts, draws):
    def never(counts):
        raise AssertionError(counts)

    assert part_intervals(never, parts=parts, draws=draws) == {}
