"""Written captions: what is compared, which are shown, and what is missing."""

import sys

import numpy as np
import pytest

from vlp.evals.captioning import captioning, check_scores, examples, words


@pytest.mark.parametrize(
    ("caption", "plain"),
    [
        ("A cat's face, smiling!", "a cat's face smiling"),
        ("flag: Japan (red/white)", "flag japan red white"),
        ("Café  №5 -- 100%", "café 5 100"),
        ("man’s hand_raised", "man’s hand raised"),
        ("...", ""),
    ],
)
def test_words_are_in_lower_case_without_punctuation(caption, plain):
    assert words(caption) == plain


def test_examples_are_a_seeded_choice_with_the_first_truth():
    written = [f"w{i}" for i in range(30)]
    truths = [[f"t{i}", "other"] for i in range(30)]
    found = examples(written, truths, samples=np.arange(100, 130), count=5)
    assert found == examples(written, truths, samples=np.arange(100, 130), count=5)
    assert len({example["sample"] for example in found}) == 5
    for example in found:
        row = example["sample"] - 100
        assert (example["written"], example["truth"]) == (f"w{row}", f"t{row}")
    assert len(examples(written[:3], truths[:3], samples=np.arange(3))) == 3


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocoevalcap", None)
    with pytest.raises(ValueError, match=r'pycocoevalcap.*pip install "vlp\[captions\]"'):
        check_scores()


def test_a_single_image_is_refused():
    with pytest.raises(ValueError, match="two images at least, got 1"):
        captioning(["a"], [["a"]])
