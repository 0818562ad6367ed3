"""`config.data.shuffled_captions`: training sees the wrong captions, all else is as without."""

import pytest

from tests.small.runs import TINY
from vlp.cli.config import load_config
from vlp.run.inputs import open_inputs
from vlp.run.workdir import Workdir


@pytest.fixture
def inputs(pairs, tmp_path):
    def make(share):
        flags = [f"--config.data.shuffled_captions={share}"]
        config = load_config(f"{TINY}:data={pairs}", flags)
        return open_inputs(config, Workdir(tmp_path / f"run-{share}"))

    return make


def test_a_share_of_the_training_captions_belongs_to_other_images(inputs):
    clean, noisy = inputs(0.0), inputs(0.5)
    batch = [next(iter(made.loader)) for made in (clean, noisy)]
    assert (batch[0]["id"] == batch[1]["id"]).all()  # the same samples, in the same order
    changed = (batch[0]["text"] != batch[1]["text"]).any(axis=1)
    assert 0 < changed.sum() < len(changed)
    wrong = sum(
        clean.source.captions(i) != noisy.source.captions(i) for i in range(len(clean.source))
    )
    assert wrong <= 18  # of 36, a few of which may get an equal caption


def test_the_tokenizer_knows_the_same_pieces(inputs):
    clean, noisy = inputs(0.0), inputs(1.0)
    assert clean.tokenizer.model == noisy.tokenizer.model
