"""Without torch a tie cannot be decided as torch does."""

import sys

import numpy as np
import pytest

from vlp.evals.reference_ties import check_torch, gallery_hits
from vlp.sweeps.tasks.classification import check_classification
from vlp.sweeps.tasks.retrieval import check_retrieval


@pytest.fixture
def no_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)


@pytest.mark.parametrize("check", [check_torch, lambda: check_classification(ties="reference"),
                                   lambda: check_retrieval(ties="reference")])  # fmt: skip
def test_it_is_refused_before_the_work_where_torch_is_missing(check, no_torch):
    with pytest.raises(ValueError, match='ties="lost"'):
        check()


def test_captions_that_count_as_one_have_no_reference():
    with pytest.raises(ValueError, match="apart"):
        check_retrieval(ties="reference", equal="one")


def test_several_vectors_a_picture_are_refused():
    pytest.importorskip("torch")
    with pytest.raises(ValueError, match="one vector a picture"):
        gallery_hits(np.ones((2, 3, 4)), np.ones((2, 4)), np.arange(2), ks=(1,))
