"""What a set says is told by name: what other sets say otherwise, and nothing else."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from data_pipelines.limits import LIMITS
from tests.sweeps.tasks.given import Pictures
from vlp.sweeps.masks import Masks
from vlp.sweeps.protocol import differing, protocol_of
from vlp.sweeps.sets import Choices, EvalSet

ASKED = Choices([np.array([0])], [np.array([0, 1])], [np.array([[True, False]])])
TRAIN = EvalSet("train", Pictures(3), labels=np.array([0, 1, 1]))
SET = EvalSet(
    "s", Pictures(2), labels=np.array([0, 1]), class_names=["cat", "dog"], templates=["a {}"],
    texts=["one", "two"], picture_of_text=np.array([0, 1]), groups={"country": ["a", "b"]},
    choices=ASKED, masks=Masks(Path(), ["a", "b"], "f", LIMITS), train=TRAIN,
)  # fmt: skip


class Others(Pictures):
    fingerprint = "others"  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"pictures": Others(2)}, "pictures"),
        ({"class_names": ["cat", "wolf"]}, "classes"),
        ({"aliases": [{"cat": 1.0}, {"dog": 2.0}]}, "classes"),
        ({"templates": ["the {}"]}, "prompts"),
        ({"prompts": [["a cat"], ["a dog"]]}, "prompts"),
        ({"texts": ["one", "three"]}, "captions"),
        ({"picture_of_text": np.array([1, 0])}, "captions"),
        ({"labels": np.array([1, 1])}, "labels"),
        ({"groups": {"country": ["a", "c"]}}, "groups"),
        ({"masks": Masks(Path(), ["a", "b"], "g", LIMITS)}, "masks"),
        ({"choices": dataclasses.replace(ASKED, right=[np.array([[False, True]])])}, "questions"),
        ({"choices": dataclasses.replace(ASKED, kinds=["colour"])}, "questions"),
        ({"choices": dataclasses.replace(ASKED, beside=[np.array([1])])}, "questions"),
        (
            {"train": dataclasses.replace(TRAIN, labels=np.array([0, 0, 1]))},
            "training part",
        ),
    ],
)
def test_what_changes_is_told_by_its_name(changed, named):
    other = dataclasses.replace(SET, **changed)
    assert differing([protocol_of(SET), protocol_of(other)]) == [named]


def test_what_is_no_matter_of_scores_changes_nothing():
    other = dataclasses.replace(SET, name="other", notes=["a note"])
    assert protocol_of(other) == protocol_of(SET)


def test_what_a_set_has_not_is_not_in_it():
    assert list(protocol_of(EvalSet("s", Pictures(2)))) == ["pictures"]
