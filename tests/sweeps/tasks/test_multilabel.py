"""Several labels a picture, worked out by hand."""

import numpy as np
import pytest

from tests.sweeps.tasks.given import chances, given, values
from vlp.evals.measures import intervals
from vlp.sweeps.tasks.multilabel import multilabel

NAMES = ("ant", "bee", "cat")
SCORES = [[0.9, 0.5, 0.1], [0.8, 0.5, 0.2], [0.7, 0.5, 0.3], [0.6, 0.1, 0.4]]
TRUTH = np.array([[1, 1, 0], [0, 0, 0], [1, 0, 0], [0, 1, 0]], bool)  # nobody has a cat


def judged(scores=SCORES, truth=TRUTH, bad=(), names=NAMES):
    return multilabel(given(scores, bad=bad, labels=truth, class_names=names))


def test_average_precision_by_hand_with_ties_lost_and_won():
    found = judged()
    ant = (1 / 1 + 2 / 3) / 2
    bee_lost = (1 / 3 + 2 / 4) / 2  # tied with two wrong ones
    bee_won = (1 / 1 + 2 / 4) / 2
    lost, won = (ant + bee_lost) / 3, (ant + bee_won) / 3
    assert values(found) == pytest.approx({"mAP": lost, "mAP_occurring": lost * 3 / 2})
    assert values(found, hit=True) == pytest.approx({"mAP": won, "mAP_occurring": won * 3 / 2})
    assert chances(found)["mAP"] == pytest.approx(chances(found)["mAP_occurring"] * 2 / 3)
    assert found.counts == {"pictures": 4, "classes": 3, "occurring": 2, "without_label": 1}
    assert intervals(found.measures, samples=4, draws=30).keys() == found.measures.keys()


def test_pictures_that_cannot_be_read_are_left_out():
    found = judged(bad=(1, 2))
    assert found.ids.tolist() == [0, 3]
    assert values(found)["mAP_occurring"] == pytest.approx((1 + 1) / 2)


def test_constant_embeddings_put_every_wrong_picture_in_front():
    found = judged(np.full((4, 3), 0.5))
    assert values(found)["mAP_occurring"] == pytest.approx((1 / 3 + 2 / 4) / 2)
    assert values(found, hit=True)["mAP_occurring"] == 1


@pytest.mark.parametrize(
    ("known", "said"),
    [
        (dict(truth=np.zeros(4, int)), "given has one label a picture.*judge it by classification"),
        (dict(bad=(0, 1, 2, 3)), "must hold a picture that can be read"),
        (dict(names=NAMES[:2]), "labels of 3 and names of 2"),
    ],
)
def test_what_cannot_be_judged_is_refused(known, said):
    with pytest.raises(ValueError, match=said):
        judged(**known)
