"""Zero-shot classification, worked out by hand."""

import numpy as np
import pytest
from hypothesis import given as generated
from hypothesis import settings
from hypothesis import strategies as st

from tests.sweeps.tasks.given import chances, given, values
from vlp.evals.measures import intervals
from vlp.sweeps.tasks.classification import classification
from vlp.sweeps.tasks.table import check_task

NAMES = ("ant", "bee", "cat", "dog")
# The fourth picture is as near to a wrong class as to its own; no dog occurs, one is predicted.
SCORES = [
    [0.9, 0.1, 0.2, 0.3],  # ant, right
    [0.4, 0.6, 0.2, 0.3],  # ant, taken for a bee
    [0.1, 0.8, 0.2, 0.3],  # bee, right
    [0.7, 0.7, 0.1, 0.0],  # bee, a tie with ant
    [0.0, 0.1, 0.2, 0.5],  # cat, taken for a dog
]
LABELS = np.array([0, 0, 1, 1, 2])


def judged(scores=SCORES, labels=LABELS, names=NAMES, bad=(), groups=None, **settings):
    view = given(scores, bad=bad, labels=labels, class_names=names, groups=groups or {})
    return classification(view, **settings)


def test_every_score_is_that_worked_out_by_hand_with_ties_lost_and_won():
    found = judged()
    third = 1 / 3
    assert values(found) == pytest.approx(
        {
            "top1": 2 / 5,
            "mean_per_class_recall": (1 / 2 + 1 / 2 + 0) / 3,
            # ant: 1 of 2 found, 1 of 2 so called is one; bee likewise; cat none
            "macro_f1": (1 / 2 + 1 / 2 + 0) / 3,
            "macro_f1_either": (1 / 2 + 1 / 2 + 0 + 0) / 4,
        }
    )
    assert values(found, hit=True) == pytest.approx(
        {
            "top1": 3 / 5,
            "mean_per_class_recall": (1 / 2 + 1 + 0) / 3,
            "macro_f1": (2 / 3 + 4 / 5 + 0) / 3,  # bee: 2 of 2, but 2 of 3 so called
            "macro_f1_either": (2 / 3 + 4 / 5 + 0 + 0) / 4,
        }
    )
    f1 = {share: 2 * share / (1 + 4 * share) for share in (0.4, 0.2)}
    assert chances(found) == pytest.approx(
        {
            "top1": 1 / 4,
            "mean_per_class_recall": 1 / 4,
            "macro_f1": third * (2 * f1[0.4] + f1[0.2]),
            "macro_f1_either": (2 * f1[0.4] + f1[0.2]) / 4,
        }
    )
    assert found.counts == {"pictures": 5, "classes": 4, "occurring": 3}
    assert found.said["predicted"].tolist() == [0, 1, 1, 0, 3]


def test_ties_that_go_to_the_first_class_are_those_of_argmax():
    first = judged(ties="first")
    assert values(first)["top1"] == 2 / 5 and values(first, hit=True) == {}
    swapped = [[row[1], row[0], *row[2:]] for row in SCORES]  # now the bee stands first
    found = judged(swapped, np.array([1, 1, 0, 0, 2]), ties="first")
    assert values(found)["top1"] == 3 / 5
    assert values(found)["macro_f1"] == pytest.approx((2 / 3 + 4 / 5 + 0) / 3)


def test_a_model_that_says_the_same_of_all_has_nothing_and_with_ties_won_everything():
    found = judged(np.full((5, 4), 0.5))
    assert values(found) == {
        "top1": 0, "mean_per_class_recall": 0, "macro_f1": 0, "macro_f1_either": 0
    }  # fmt: skip
    assert set(values(found, hit=True).values()) == {1.0}
    assert values(judged(np.full((5, 4), 0.5), ties="first"))["top1"] == 2 / 5  # the ants


def test_top5_is_there_from_five_classes_on():
    names = (*NAMES, "elk")
    found = judged(np.full((5, 5), 0.5), names=names)
    assert values(found)["top5"] == 1.0 == chances(found)["top5"]
    six = judged(np.full((5, 6), 0.5), names=(*names, "fox"))
    assert values(six)["top5"] == 0.0 and values(six, hit=True)["top5"] == 1.0
    assert chances(six)["top5"] == pytest.approx(5 / 6)
    assert "top5" not in judged().measures


def test_one_class_is_always_right():
    found = judged([[0.1], [-0.3]], np.array([0, 0]), ("ant",))
    assert set(values(found).values()) == {1.0} == set(chances(found).values())


def test_nan_is_never_right_and_other_pictures_do_not_mind():
    scores = np.array(SCORES)
    scores[0] = np.nan
    found = judged(scores)
    assert values(found)["top1"] == 1 / 5 and values(found, hit=True)["top1"] == 2 / 5
    assert values(judged(scores, ties="first"))["top1"] == 1 / 5


def test_pictures_without_label_or_that_cannot_be_read_are_left_out_and_said():
    found = judged(labels=np.array([0, 0, 1, -1, 2]), bad=(1,))
    assert found.counts == {"pictures": 3, "classes": 4, "occurring": 3}
    assert found.ids.tolist() == [0, 2, 4] and values(found)["top1"] == pytest.approx(2 / 3)
    assert list(found.notes) == ["a note", "1 pictures have no label"]


@pytest.mark.parametrize(
    ("labels", "bad"), [(np.full(5, -1), ()), (LABELS, (0, 1, 2, 3, 4)), (LABELS[:0], ())]
)
def test_no_sample_at_all_is_refused(labels, bad):
    with pytest.raises(ValueError, match="given must hold a picture with a label"):
        judged(SCORES[: len(labels)], labels, bad=bad)


def test_groups_have_their_own_score_and_the_worst_is_the_least_of_those_that_count():
    place = ["north", "north", "south", "south", "other"]
    found = judged(groups={"region": place}, group="region", without=("other",))
    assert {k: v for k, v in values(found).items() if "/" in k} == {
        "north/top1": 1 / 2, "south/top1": 1 / 2, "other/top1": 0, "worst_region/top1": 1 / 2
    }  # fmt: skip
    assert values(found, hit=True)["south/top1"] == 1 == values(found, hit=True)["south/top1"]
    assert values(judged(groups={"region": place}, group="region"))["worst_region/top1"] == 0
    assert chances(found)["worst_region/top1"] == 1 / 4


def test_a_group_without_pictures_that_can_be_read_is_never_the_worst():
    place = ["north", "north", "south", "south", "east"]
    found = judged(groups={"region": place}, group="region", bad=(4,))
    assert values(found)["worst_region/top1"] == 1 / 2 and "east/top1" not in found.measures
    found = judged(groups={"region": [*place[:4], ""]}, group="region")  # in no group
    assert values(found)["worst_region/top1"] == 1 / 2 and "/top1" not in found.measures


def test_groups_may_be_compared_by_top5():
    scores = np.pad(np.array(SCORES), ((0, 0), (0, 2)))
    found = judged(scores, names=(*NAMES, "elk", "fox"), groups={"g": list("aabbb")}, group="g",
                   by="top5")  # fmt: skip
    assert values(found)["worst_g/top5"] == values(found)["b/top5"] == 1.0


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (dict(group="colour"), "group must be a field of the set, given has region, got 'colour'"),
        (dict(group="region", without=("west",)), "without must name values of region.*got 'west'"),
        (dict(group="region", without=("north", "south", "")), "got ''"),
        (dict(by="top3"), "by must be one of top1, top5, got 'top3'"),
        (dict(among="some"), "among must be one of all, occurring, got 'some'"),
        (dict(ties="won"), "ties must be one of lost, first,.* got 'won'"),
    ],
)
def test_settings_that_are_none_are_refused(settings, said):
    groups = {"region": ["north", "north", "south", "south", ""]}
    with pytest.raises(ValueError, match=said):
        judged(groups=groups, **settings)


def test_values_of_settings_are_refused_before_the_work():
    with pytest.raises(ValueError, match="among must be one of"):
        check_task("classification", {"among": "some"})
    check_task("classification", {"among": "occurring", "group": "region", "by": "top5"})


def test_of_several_labels_any_is_right_and_pictures_without_one_are_left_out():
    right = np.array(
        [[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1], [0, 1, 0, 0], [0, 0, 0, 0]], bool
    )  # fmt: skip
    found = judged(labels=right)
    assert values(found) == {"top1": 2 / 4} and values(found, hit=True) == {"top1": 3 / 4}
    assert chances(found)["top1"] == pytest.approx((2 + 2 + 2 + 1) / 4 / 4)
    assert found.counts == {"pictures": 4, "classes": 4, "occurring": 4}


def test_classes_that_do_not_occur_may_be_left_out():
    found = judged(among="occurring")  # without the dog the cat's picture is of a cat
    assert values(found)["top1"] == 3 / 5 and found.counts["classes"] == 3
    assert found.said["predicted"].tolist() == [0, 1, 1, 0, 2]
    assert found.notes[-1] == "only the 3 classes that occur compete"
    later = judged(labels=np.array([1, 1, 3, 3, -1]), among="occurring")
    assert later.counts == {"pictures": 4, "classes": 2, "occurring": 2}
    right = np.array([[0, 1, 0, 0]] * 5, bool)
    assert values(judged(labels=right, among="occurring")) == {"top1": 1.0}


@pytest.mark.parametrize(
    "labels", [np.array([0, 0, 1, 1, 4]), np.ones((5, 5), bool), np.ones((5, 3), bool)]
)
@pytest.mark.parametrize("among", ["all", "occurring"])
def test_labels_that_are_no_class_are_refused(labels, among):
    with pytest.raises(ValueError, match="given must name all of its classes"):
        judged(labels=labels, among=among)


def test_classes_of_one_name_tie_each_time():
    found = judged(np.array(SCORES)[:, :3], names=("ant", "bee", "ant"), labels=LABELS % 2)
    assert values(found)["top1"] < values(found, hit=True)["top1"]
    assert found.notes[-1].startswith("1 classes have the name of another one, such as 'ant'")


@settings(max_examples=10, deadline=None)
@generated(st.data())
def test_argmax_is_between_ties_lost_and_ties_won(data):
    levels = st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=6, max_size=6)
    scores = np.array(data.draw(st.lists(levels, min_size=8, max_size=8)))
    labels = np.array(data.draw(st.lists(st.integers(0, 5), min_size=8, max_size=8)))
    names = tuple("abcdef")
    lost, first = (judged(scores, labels, names, ties=ties) for ties in ("lost", "first"))
    low, middle, high = values(lost), values(first), values(lost, hit=True)
    for name in ("top1", "top5", "mean_per_class_recall"):
        assert low[name] <= middle[name] <= high[name]
    top1 = np.mean(scores.argmax(axis=1) == labels)
    order = np.argsort(-scores, axis=1, kind="stable")
    top5 = np.mean((order[:, :5] == labels[:, None]).any(axis=1))
    assert (middle["top1"], middle["top5"]) == pytest.approx((top1, top5))


def test_every_score_has_an_interval():
    found = judged(groups={"g": list("aabbb")}, group="g")
    spread = intervals(found.measures, samples=found.samples, draws=50)
    assert spread.keys() == found.measures.keys()
    assert all(0 <= each.low <= each.high <= 1 for each in spread.values())
