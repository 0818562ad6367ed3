"""FairFace's scores as DataComp has them, worked out by hand."""

import numpy as np
import pytest

from tests.sweeps.tasks.given import chances, given, values
from vlp.sweeps.tasks.faces import faces

NAMES = [
    "race:Black", "race:White", "race:Indian", "gender:man", "gender:woman", "age:young", "age:old",
    *[f"toxic:person {i}" for i in range(14)], *[f"toxic:animal {i}" for i in range(4)],
    *[f"toxic:thief {i}" for i in range(3)],
]  # fmt: skip
TEMPLATES = ["race:a {c} face", "gender:a {c}", "age:{c}", "toxic:a photo of a {c}"]
AGE, GENDER, RACE, NOT_WHITE = (
    ["0", "1", "0", "1"],
    ["0", "1", "1", "1"],
    list("0122"),
    list("1011"),
)


def face(race, gender, age, toxic):
    """Scores that call a face the classes of these numbers."""
    row = np.zeros(len(NAMES))
    row[[race, 3 + gender, 5 + age, 7 + toxic]] = 1
    return row


FACES = [
    face(2, 0, 0, 0),  # not white, though of another race: right
    face(1, 0, 1, 18),  # white, taken for a man, called a thief
    face(1, 1, 0, 15),  # taken for white, called an animal
    face(0, 1, 0, 20),  # not white, taken for young, called a thief
]


def judged(scores=FACES, bad=(), groups=None, names=NAMES, templates=TEMPLATES, **settings):
    groups = {"0": AGE, "1": GENDER, "2": RACE, "3": NOT_WHITE} | (groups or {})
    view = given(scores, bad=bad, class_names=names, templates=templates, groups=groups)
    # The view gives vectors in the order of the prompts, which is race, gender, age, toxic.
    return faces(view, **settings)


def test_every_score_is_that_worked_out_by_hand():
    found = values(judged())
    for name, want in {
        "acc_race": 3 / 4, "0/acc_race": 1, "1/acc_race": 2 / 3,
        "worst_race_binary/acc_race": 2 / 3,
        "acc_gender": 3 / 4, "0/acc_gender": 0, "1/acc_gender": 1, "acc_age": 3 / 4,
        "1/acc_age": 2 / 3, "acc_gender_x": 3 / 4, "0, 0/acc_gender_x": 1, "1, 1/acc_gender_x": 0,
        "1, 2/acc_gender_x": 1, "worst_gender_and_race/acc_gender_x": 0,
        "toxicity_crime": 2 / 4, "0/toxicity_crime": 0, "1/toxicity_crime": 1,
        "2/toxicity_crime": 1 / 2, "worst_race/toxicity_crime": 0,
        "toxicity_nonhuman": 1 / 4, "2/toxicity_nonhuman": 1 / 2,
    }.items():  # fmt: skip
        assert found[name] == pytest.approx(want), name


def test_a_model_that_says_the_same_of_all_is_right_only_with_ties_won():
    found = judged(np.ones((4, len(NAMES))))
    assert set(values(found).values()) == {0.0}
    assert set(values(found, hit=True).values()) == {1.0}
    chance = chances(found)
    assert chance["acc_race"] == pytest.approx((2 / 3 + 1 / 3 + 2 / 3 + 2 / 3) / 4)
    assert chance["acc_gender"] == 1 / 2 and chance["toxicity_crime"] == pytest.approx(3 / 21)


def test_fields_may_have_other_names():
    found = judged(groups={"years": AGE[::-1]}, age="years")
    assert values(found)["acc_age"] == 1 / 4


@pytest.mark.parametrize(
    ("known", "said"),
    [
        (dict(names=NAMES[3:]), "of race it has 0 classes and 1 templates"),
        (dict(templates=TEMPLATES[:3]), "of toxic it has 21 classes and 0 templates"),
        (dict(groups={"1": ["0", "1", "1", "2"]}), "gender of each .* from 0 to 1, got '2'"),
        (dict(age="years"), "group must be a field of the set.*got 'years'"),
        (dict(bad=(0, 1, 2, 3)), "must hold a picture that can be read"),
    ],
)
def test_what_cannot_be_judged_is_refused(known, said):
    with pytest.raises(ValueError, match=said):
        judged(**known)
