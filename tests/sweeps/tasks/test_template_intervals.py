"""How far zero-shot scores hang on the choice of templates, worked out by hand."""

import numpy as np
import pytest

from tests.sweeps.tasks.given import given
from vlp.sweeps.prompts import ClassPrompts
from vlp.sweeps.scores import scores_of
from vlp.sweeps.tasks.classification import classification

# Cosines with "an ant", "the ant", "an bee", "the bee", and which templates alone are right.
SCORES = [
    [1.0, 0.2, 0.5, 0.5],  # an ant: the first; both together: 1.2 to 1.0
    [0.2, 1.0, 0.5, 0.5],  # an ant: the second; both together
    [0.9, 0.3, 0.5, 0.8],  # an ant: the first; not both together: 1.2 to 1.3
    [0.9, 0.9, 0.1, 0.0],  # a bee: none
]
LABELS = np.array([0, 0, 0, 1])
TWICE_FIRST, BOTH, TWICE_SECOND = ([2, 0], 2 / 4), ([1, 1], 2 / 4), ([0, 2], 1 / 4)


def judged(scores=SCORES, templates=("an {c}", "the {c}"), settings=None, **known):
    names = dict(class_names=("ant", "bee")) | known
    view = given(scores, labels=LABELS, templates=templates, **names)
    return classification(view, **settings or {})


def top1(found, draws=200, **others):
    return scores_of(found, draws=0, seed=0, template_draws=draws, **others)["top1"]


@pytest.mark.parametrize("ensemble", ["embeddings", "scores"])
def test_of_two_templates_either_twice_or_both_are_judged(ensemble):
    found = judged(settings={"ensemble": ensemble})
    assert found.redrawn.templates == 2
    for counts, right in (TWICE_FIRST, BOTH, TWICE_SECOND):
        assert found.redrawn.values(np.asarray(counts, float))["top1"] == right
    assert top1(found) == {
        "value": 2 / 4, "chance": 1 / 2, "template_low": 1 / 4, "template_high": 2 / 4,
        "if_ties_hit": 2 / 4,
    }  # fmt: skip


def test_every_score_has_an_interval_over_templates_groups_too():
    groups = {"region": ["north", "south", "south", "south"]}
    found = judged(groups=groups, settings={"group": "region"})
    scores = scores_of(found, draws=0, seed=0, template_draws=200)
    assert all(0 <= each["template_low"] <= each["template_high"] <= 1 for each in scores.values())
    north = scores["north/top1"]
    assert (north["template_low"], north["template_high"]) == (0, 1)  # only the first finds it
    assert scores["worst_region/top1"]["template_low"] == 0


def test_templates_that_say_the_same_have_an_interval_without_width():
    found = top1(judged(templates=("the {c}", "the {c}", "the {c}")))
    assert found["template_low"] == found["template_high"] == found["value"]


def test_every_name_of_a_class_stays_with_its_weight():
    names = [{"ant": 1.0}, {"bee": 3.0, "wasp": 1.0}]
    known = dict(class_names=("ant", "bee"), aliases=names, templates=("an {c}", "the {c}"))
    view = given(np.zeros((4, 6)), labels=LABELS, **known)  # two texts of each name
    vectors = ClassPrompts.of(view).classes(np.asarray([2.0, 0.0]))
    np.testing.assert_allclose(vectors[0], [1, 0, 0, 0, 0, 0])
    np.testing.assert_allclose(vectors[1], np.array([0, 0, 3, 0, 1, 0]) / np.sqrt(10), rtol=1e-6)


@pytest.mark.parametrize(
    "known",
    [
        dict(templates=("{c}",)),
        dict(templates=()),  # the bare names
        dict(templates=(), prompts=(("one", "two"), ("three",))),  # no class shares them
    ],
)
def test_one_template_or_prompts_by_class_have_no_interval_rather_than_one_of_nothing(known):
    assert "template_low" not in top1(judged(**known))


def test_without_draws_there_is_no_interval_over_templates():
    assert "template_low" not in top1(judged(), draws=0)
