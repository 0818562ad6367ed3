import json

import numpy as np
import pytest
from data_makers import encoded, pixels, write_tar

from data_pipelines.faults import Reject
from data_pipelines.fields import Example, Labels
from data_pipelines.opening import open_source


@pytest.fixture
def row(tmp_path):
    """The row of a sample whose field "labels" is this."""

    def row(labels, *, count=9, most=4):
        meta = {} if labels is None else {"labels": labels}
        members = [("a.png", encoded(pixels(0))), ("a.json", json.dumps(meta).encode())]
        source = open_source(write_tar(tmp_path / "a.tar", members))
        field = Labels("labels", count=count, most=most)
        return field(Example(source, 0, epoch=0, seed=0))

    return row


def test_labels_are_ascending_once_each_and_the_rest_is_minus_one(row):
    found = row([5, 2, 5])
    assert found.tolist() == [2, 5, -1, -1] and found.dtype == np.int32
    assert row([]).tolist() == [-1] * 4


@pytest.mark.parametrize(
    "labels, reason",
    [
        (None, "label missing"),
        ("cat", "labels invalid"),
        ([1, "cat"], "labels invalid"),
        ([True], "labels invalid"),
        ([1.5], "labels invalid"),
        ([9], "labels invalid"),
        ([-1], "labels invalid"),
        ([0, 1, 2, 3, 4], "labels invalid"),
    ],
)
def test_what_is_no_list_of_known_labels_costs_its_sample_alone(row, labels, reason):
    with pytest.raises(Reject) as error:
        row(labels)
    assert error.value.reason == reason


def test_how_many_labels_there_are_must_be_said():
    with pytest.raises(ValueError, match="config.model.num_labels"):
        Labels("labels", count=0, most=4)
