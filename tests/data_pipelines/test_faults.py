"""The closed list of reasons."""

import pickle

import pytest

from data_pipelines.faults import REASONS, Reject, summary


def test_codes_name_their_reason_and_leave_zero_for_good_samples():
    assert [Reject(reason).code for reason in REASONS] == list(range(1, len(REASONS) + 1))
    assert len(REASONS) < 256  # uint8


def test_an_unknown_reason_is_refused():
    with pytest.raises(ValueError, match="reason must be one of image missing.*got 'bad'"):
        Reject("bad")


def test_a_reject_crosses_processes_with_its_reason():
    copy = pickle.loads(pickle.dumps(Reject("image empty", "0 bytes")))
    assert (copy.reason, copy.detail) == ("image empty", "0 bytes")
    assert str(copy) == "image empty: 0 bytes"


def test_a_summary_starts_with_the_most_frequent():
    assert summary({"image empty": 2, "caption empty": 5}) == "caption empty 5, image empty 2"
    assert summary({}) == "none"
