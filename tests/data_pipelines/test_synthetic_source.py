"""Pairs that are made: sizes, captions and what cannot be made."""

import pickle

import pytest

from data_pipelines.decode import decode
from data_pipelines.opening import open_source


def test_pairs_follow_from_their_number_and_have_the_size_that_is_asked_for():
    source = open_source("synthetic:1000000@40x30")
    assert len(source) == 1_000_000
    assert decode(source.image(999_999)).shape == (30, 40, 4)
    captions = {source.captions(index)[0] for index in range(200)}
    assert len(captions) == 200 and all(6 <= len(text.split()) <= 20 for text in captions)
    copy = pickle.loads(pickle.dumps(source))
    assert copy.image(5) == source.image(5) == open_source("synthetic:9@40x30").image(5)
    assert source.image(5) != source.image(6) and source.captions(5) == copy.captions(5)


@pytest.mark.parametrize("spec", ["synthetic:", "synthetic:0", "synthetic:5@0x3", "synthetic:5x3"])
def test_another_form_is_refused(spec):
    with pytest.raises(ValueError, match="is the form, got"):
        open_source(spec)
