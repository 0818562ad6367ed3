"""Probes on features that are given: what they find, what they say, and what they refuse."""

import dataclasses
from functools import partial
from typing import Any

import numpy as np
import pytest

from data_pipelines.limits import LIMITS
from data_pipelines.sources import Source
from vlp.sweeps.sets import EvalSet
from vlp.sweeps.tasks.few_shot import few_shot
from vlp.sweeps.tasks.knn import knn
from vlp.sweeps.tasks.linear_probe import linear_probe
from vlp.sweeps.tasks.linear_probe_adamw import linear_probe_adamw
from vlp.sweeps.tasks.linear_probe_shots import linear_probe_shots
from vlp.sweeps.vectors import Rows

PROBES = {
    "linear_probe": linear_probe,
    "linear_probe_adamw": linear_probe_adamw,
    "linear_probe_shots": linear_probe_shots,
    "few_shot": few_shot,
    "knn": knn,
}


class Pictures(Source):
    """A source of so many pictures, which nobody reads."""

    name, limits, fingerprint = "given", LIMITS, "given"  # type: ignore[assignment]

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count


@dataclasses.dataclass
class Given:
    """A set whose features are given, those of its training part, too."""

    set: EvalSet
    features: dict
    asked: list = dataclasses.field(default_factory=list)
    seed: int = 0
    opened: Any = None
    rule: str = "plain"

    def pictures(self, of=None, *, feature="embedding"):
        self.asked.append(feature)
        x = self.features[(of or self.set).name]
        return Rows(np.arange(len(x)), np.asarray(x, np.float32), [])

    def on(self, found):
        return dataclasses.replace(self, set=found)

    def captions(self, texts):
        raise AssertionError("probes read no texts")

    prompts = captions


def given(test, train, **known):
    """The view of a test and a training part, each (features, labels)."""
    of_train = EvalSet("train", Pictures(len(train[1])), labels=np.asarray(train[1]))
    of_test = EvalSet("test", Pictures(len(test[1])), labels=np.asarray(test[1]), train=of_train)
    return Given(dataclasses.replace(of_test, **known), {"test": test[0], "train": train[0]})


def blobs(*, n=60, k=6, d=8, noise=0.2, seed=0):
    """Clouds around k centres, in two parts."""
    rng = np.random.default_rng(seed)
    centres, labels = rng.normal(size=(k, d)), np.arange(n) % k
    return [(centres[labels] + noise * rng.normal(size=(n, d)), labels) for _ in range(2)]


def values(judged):
    once = np.ones(judged.samples)
    return {name: measure.of(once) for name, measure in judged.measures.items()}


@pytest.mark.parametrize("method", ["clip", "dinov3"])
def test_clouds_apart_are_learnt_by_logistic_regression(method):
    judged = linear_probe(given(*blobs()), method=method)
    found = values(judged)
    assert found["top1"] == found["top5"] == found["mean_per_class_recall"] == 1.0
    assert judged.measures["top1"].chance == 1 / 6
    assert judged.counts == {
        "pictures": 60, "classes": 6, "occurring": 6, "training": 60, "validation": 6,
    }  # fmt: skip
    assert any("on 6 held-out training pictures (seed 0)" in note for note in judged.notes)


@pytest.mark.parametrize("task", PROBES)
def test_every_probe_learns_clouds_apart_and_says_what_of_each_picture(task):
    settings = {"l2": 1.0} if task == "few_shot" else {}  # 2^10 is for wider features
    judged = PROBES[task](given(*blobs(n=120)), **settings)
    top1 = [value for name, value in values(judged).items() if name.endswith("top1")]
    assert top1 and min(top1) > 0.9
    assert judged.said["label"].tolist() == (np.arange(120) % 6).tolist()
    assert np.mean(judged.said["predicted"] == judged.said["label"]) > 0.9
    assert judged.ids.tolist() == list(range(120))


@pytest.mark.parametrize("task", PROBES)
def test_labels_that_mean_nothing_are_guessed_as_by_chance(task):
    (x, labels), train = blobs(n=240, noise=0.1)
    shuffled = np.random.default_rng(1).permutation(train[1])
    judged = PROBES[task](given((x, labels), (train[0], shuffled)))
    low, high = 1 / 6 - 0.17, 1 / 6 + 0.17
    assert all(low < v < high for name, v in values(judged).items() if name.endswith("/top1"))


@pytest.mark.parametrize("task", PROBES)
@pytest.mark.parametrize("what", ["labels", "train", "many", "feature", "empty", "unlabelled"])
def test_what_cannot_be_learnt_is_refused(task, what):
    test, train = blobs()
    view, settings = given(test, train), {}
    if what == "labels":
        view.set = dataclasses.replace(view.set, labels=None)
    if what == "many":
        view.set = dataclasses.replace(view.set, labels=np.ones((60, 3), bool))
    if what == "train":
        view.set = dataclasses.replace(view.set, train=None)
    if what == "feature":
        settings = {"feature": "nose"}
    if what == "empty":
        view = given((np.zeros((0, 8)), np.zeros(0, int)), train)
    if what == "unlabelled":
        view = given(test, (train[0], np.full(60, -1)))
    with pytest.raises(ValueError, match="probes |feature must be|must hold a picture"):
        PROBES[task](view, **settings)


@pytest.mark.parametrize(
    "task,settings",
    [
        ("linear_probe", {"method": "svm"}),
        ("linear_probe", {"val_share": 0.0}),
        ("linear_probe", {"val_share": 1.0}),
        ("linear_probe_adamw", {"shots": -1}),
        ("linear_probe_adamw", {"shots": 20}),
        ("linear_probe_adamw", {"batch_size": 0}),
        ("linear_probe_shots", {"draws": 0}),
        ("linear_probe_shots", {"c": 0.0}),
        ("few_shot", {"shots": []}),
        ("few_shot", {"shots": [0]}),
        ("few_shot", {"l2": 0.0}),
        ("few_shot", {"seeds": 0}),
        ("knn", {"ks": [0]}),
        ("knn", {"temperature": 0.0}),
    ],
)
def test_settings_that_cannot_be_are_refused(task, settings):
    with pytest.raises(ValueError, match="must"):
        PROBES[task](given(*blobs()), **settings)


def test_a_feature_is_what_is_asked_of_both_parts():
    view = given(*blobs())
    knn(view, feature="layer:3")
    assert view.asked == ["layer:3", "layer:3"]


def test_pictures_without_labels_and_features_that_are_no_numbers_are_left_out_and_said():
    (x, labels), (train, own) = blobs()
    labels, own, train = labels.copy(), own.copy(), train.copy()
    labels[:3], own[:2], train[10:14, 0] = -1, -1, np.nan
    judged = knn(given((x, labels), (train, own)), ks=[1])
    assert judged.counts["pictures"] == judged.samples == 57 and judged.counts["training"] == 54
    assert judged.ids.tolist() == list(range(3, 60))
    assert {
        "3 pictures have no label",
        "training part: 2 pictures have no label",
        "4 training pictures have features that are no numbers",
    } <= set(judged.notes)


def test_a_picture_whose_feature_is_no_number_is_wrong_and_the_others_are_judged():
    (x, labels), train = blobs()
    x = x.copy()
    x[0] = np.nan
    for task in (knn, partial(few_shot, l2=1.0), linear_probe_shots):
        judged = task(given((x, labels), train))
        name = next(name for name in judged.measures if name.endswith("top1"))
        (missed, _), hit = judged.measures[name].shares, judged.measures[name].if_hit
        assert missed[0] == 0 and hit(np.eye(60)[0]) == 0
        assert missed[1:].mean() > 0.9


def test_classes_that_are_not_in_the_training_part_count_as_wrong_and_are_said():
    (x, labels), (train, own) = blobs()
    kept = own != 2
    judged = few_shot(given((x, labels), (train[kept], own[kept])), shots=[5], l2=1.0)
    assert values(judged)["5-shot/top1"] == pytest.approx(5 / 6)
    assert any(
        note.startswith("10 pictures are of classes that the train") for note in judged.notes
    )


def test_all_classes_that_are_named_compete():
    judged = knn(given(*blobs(), class_names=[f"c{i}" for i in range(9)]))
    assert judged.counts["classes"] == 9 and judged.measures["10-nn/top1"].chance == 1 / 9


def test_more_neighbours_than_there_are_take_all_and_say_so():
    judged = knn(given(*blobs(n=12)), ks=[5, 50])
    assert any("k = 50 takes all" in note for note in judged.notes)
    assert not any("k = 5 " in note for note in judged.notes)


def test_neighbours_by_hand():
    # Two of class 0 at a right angle, three of class 1 straight ahead of the second picture.
    train = ([[1, 0], [1, 0], [0, 1], [0, 1], [0, 1]], [0, 0, 1, 1, 1])
    judged = knn(given(([[1, 0], [0, 1], [1, 1]], [0, 0, 1]), train), ks=[2, 5], temperature=1.0)
    found = values(judged)
    # k = 2: right, wrong, and the third sees two of class 0, which are the earliest of its ties.
    assert found["2-nn/top1"] == pytest.approx(1 / 3)
    # k = 5: 2 e against 3; 2 against 3 e; 2 against 3 alike ones.
    assert found["5-nn/top1"] == pytest.approx(2 / 3)


def test_votes_that_are_equal_are_a_tie_which_is_lost_or_won():
    train = ([[1, 0], [1, 0]], [0, 1])
    judged = knn(given(([[1, 0]], [1]), train), ks=[2])
    measure = judged.measures["2-nn/top1"]
    assert (measure.of(np.ones(1)), measure.if_hit(np.ones(1))) == (0.0, 1.0)


def test_constant_features_know_nothing_but_which_class_is_frequent():
    labels = np.asarray([0, 1, 1, 1, 2] * 4)
    x = np.ones((20, 3))
    for task in (linear_probe, linear_probe_adamw):
        assert values(task(given((x, labels), (x, labels))))["top1"] == pytest.approx(0.6)


def test_the_mean_over_seeds_is_given_with_their_deviation():
    test, train = blobs(n=120, noise=1.5)
    found = few_shot(given(test, train), shots=[1], seeds=4)
    each = [values(few_shot(given(test, train), shots=[1], seeds=s)) for s in (1, 2, 3, 4)]
    sums = [i * own["1-shot/top1"] for i, own in enumerate(each, start=1)]
    own = np.diff([0.0, *sums])
    assert values(found)["1-shot/top1"] == pytest.approx(own.mean())
    assert values(found)["1-shot/top1_deviation"] == pytest.approx(own.std(ddof=1))
    assert "1-shot/top1_deviation" not in each[0]


def test_several_vectors_a_picture_are_averaged_and_said():
    (x, labels), (train, own) = blobs()
    plain = values(few_shot(given((x, labels), (train, own))))
    pairs = [np.stack([part - 1, part + 1], axis=1) for part in (x, train)]
    judged = few_shot(given((pairs[0], labels), (pairs[1], own)))
    assert values(judged) == pytest.approx(plain)
    assert "2 vectors a picture of test are averaged" in judged.notes


def test_without_a_held_out_part_nothing_decays():
    judged = linear_probe_adamw(given(*blobs()), val_share=0.0)
    assert any(note.startswith("no weight decay") for note in judged.notes)
    assert "validation" not in judged.counts


def test_few_shots_by_adamw_learn_from_so_many_alone(monkeypatch):
    from vlp.sweeps.tasks import linear_probe_adamw as module

    seen = []
    plain = module.train
    monkeypatch.setattr(
        module, "train", lambda x, *a, **k: seen.append(len(x)) or plain(x, *a, **k)
    )
    module.linear_probe_adamw(given(*blobs(n=120)), shots=3)
    assert set(seen) == {18}
    seen.clear()
    module.linear_probe_adamw(given(*blobs(n=120)))
    assert set(seen[:-1]) == {108} and seen[-1] == 120
