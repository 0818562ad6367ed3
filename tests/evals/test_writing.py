"""Numbers and words for people: the examples in the docstrings."""

import doctest

import pytest

from vlp import metrics
from vlp.evals import writing


@pytest.mark.parametrize("module", [writing, metrics])
def test_the_examples_in_docstrings_hold(module):
    found = doctest.testmod(module, extraglobs={"np": pytest.importorskip("numpy")})
    assert found.failed == 0 and found.attempted > 0
