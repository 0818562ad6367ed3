"""Which samples probes learn from: so many of each class, the same for a seed."""

import numpy as np
import pytest

from vlp.evals.probes.draws import held_out, shots_by_class, shots_in_turn

LABELS = np.asarray([3, 0, 0, 3, 0, 5, 3, 3, 0])


def test_shots_are_of_their_class_and_more_shots_keep_the_fewer():
    by_class = shots_by_class(LABELS, seed=1)
    assert [LABELS[rows].tolist() for rows in by_class] == [[0] * 4, [3] * 4, [5]]
    assert [sorted(rows) for rows in by_class] == [[1, 2, 4, 8], [0, 3, 6, 7], [5]]


def test_another_seed_draws_others():
    first, same, other = (shots_by_class(np.zeros(50, int), seed=s)[0] for s in (0, 0, 1))
    assert first.tolist() == same.tolist() != other.tolist()


def test_draws_in_turn_have_so_many_of_each_class_and_differ():
    labels = np.arange(200) % 4
    draws = shots_in_turn(labels, shots=5, draws=3, seed=42)
    for rows in draws:
        assert np.bincount(labels[rows]).tolist() == [5] * 4 and len(set(rows)) == 20
    assert len({tuple(rows) for rows in draws}) == 3


def test_a_class_with_fewer_gives_all():
    (rows,) = shots_in_turn(LABELS, shots=3, draws=1, seed=0)
    assert np.bincount(LABELS[rows]).tolist() == [3, 0, 0, 3, 0, 1]


@pytest.mark.parametrize("share,held", [(0.1, 10), (0.5, 50), (0.001, 1), (0.994, 99)])
def test_a_share_is_held_out_and_the_rest_remains(share, held):
    kept, out = held_out(100, share=share, seed=3)
    assert len(out) == held and sorted([*kept, *out]) == list(range(100))


def test_nothing_is_held_out_for_a_share_of_nothing():
    kept, out = held_out(4, share=0.0, seed=0)
    assert kept.tolist() == [0, 1, 2, 3] and not len(out)


@pytest.mark.parametrize("count,share", [(10, 1.0), (10, -0.1), (1, 0.1), (3, 0.99)])
def test_a_share_that_leaves_nothing_is_refused(count, share):
    with pytest.raises(ValueError, match="val_share must"):
        held_out(count, share=share, seed=0)
