"""The classes and samples that the page shows: those counted by hand."""

import numpy as np

from vlp.sweeps.page.mistakes import confusions, furthest_apart, named, worst_classes

LABELS = np.array([0, 0, 0, 1, 1, 3, 3, 3])
PREDICTED = np.array([0, 1, 1, 1, 1, 0, 2, 0])


def test_the_worst_class_comes_first_and_of_equal_ones_the_largest():
    assert worst_classes(LABELS, PREDICTED, most=2) == [(3, 0, 3), (0, 1, 3)]
    assert worst_classes(np.array([0, 1, 1]), np.array([1, 0, 0]), most=9) == [(1, 0, 2), (0, 0, 1)]


def test_confusions_are_counted_by_class_and_what_it_is_taken_for():
    first, second, third = confusions(LABELS, PREDICTED, most=3)
    assert (first.label, first.predicted, first.rows.tolist()) == (0, 1, [1, 2])
    assert (second.label, second.predicted, second.rows.tolist()) == (3, 0, [5, 7])
    assert (third.label, third.predicted, third.rows.tolist()) == (3, 2, [6])


def test_nothing_wrong_is_no_confusion():
    assert confusions(LABELS, LABELS, most=3) == []
    assert worst_classes(np.zeros(0, int), np.zeros(0, int), most=3) == []


def test_samples_on_which_models_agree_are_not_apart():
    ours = np.array([[1.0, 0, 1, 0, 2], [1, 1, 1, 1, 5]])
    theirs = np.array([[1.0, 1, 0, 0, 5], [1, 1, 1, 1, 5]])
    assert furthest_apart(ours, theirs, most=5) == ([2], [1, 4])
    assert furthest_apart(ours, ours, most=5) == ([], [])


def test_a_sample_that_one_model_was_not_asked_is_not_apart():
    ours, theirs = np.array([[1.0], [1.0]]), np.array([[0.0], [0.0]])
    assert furthest_apart(ours, theirs, most=5) == ([], [])


def test_of_equal_differences_the_seed_draws():
    ours, theirs = np.ones((2, 50)), np.stack([np.zeros(50), np.ones(50)])
    drawn = [furthest_apart(ours, theirs, most=3, seed=seed)[0] for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_class_without_a_name_is_a_number():
    assert (named(1, ("a", "b")), named(2, ("a", "b"))) == ("b", "class 2")
