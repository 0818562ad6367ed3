"""Sources with wrong captions: which, whose, and nothing else changed."""

import pickle

import numpy as np
import pytest
from data_makers import pairs, write_tar

from data_pipelines.faults import Reject
from data_pipelines.sources import ShuffledCaptions, Source, TarSource


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    return TarSource([write_tar(tmp_path_factory.mktemp("noise") / "a.tar", pairs(20))])


def whose(source):
    """The number in the first caption of every sample."""
    return [int(source.captions(i)[0].split()[-1]) for i in range(len(source))]


def test_the_share_of_the_samples_has_the_captions_of_others_and_none_is_lost(clean):
    noisy = ShuffledCaptions(clean, share=0.4)
    owners = whose(noisy)
    assert sum(owner != i for i, owner in enumerate(owners)) == 8
    assert sorted(owners) == list(range(20))
    assert isinstance(noisy, Source) and len(noisy) == 20


def test_images_names_and_metadata_stay_and_all_captions_move_together(clean):
    noisy = ShuffledCaptions(clean, share=1.0)
    for i, owner in enumerate(whose(noisy)):
        sample = noisy[i]
        assert (sample.key, sample.image, sample.meta) == (
            clean[i].key, clean[i].image, clean[i].meta
        )  # fmt: skip
        assert sample.captions == noisy.captions(i) == clean.captions(owner)
        assert noisy.image(i) == clean.image(i) and noisy.key(i) == clean.key(i)
        assert owner != i


def test_the_seed_decides_and_a_copy_in_another_process_is_the_same(clean):
    one, other = (ShuffledCaptions(clean, share=0.5, seed=seed) for seed in (0, 1))
    assert whose(one) == whose(ShuffledCaptions(clean, share=0.5))
    assert whose(one) == whose(pickle.loads(pickle.dumps(one)))
    assert whose(one) != whose(other)
    assert len({one.fingerprint, other.fingerprint, clean.fingerprint}) == 3


def test_no_share_changes_nothing(clean):
    assert whose(ShuffledCaptions(clean, share=0.0)) == list(range(20))


def test_a_missing_caption_moves_as_well(tmp_path):
    members = [m for m in pairs(6) if m[0] != "0003.captions"]
    noisy = ShuffledCaptions(TarSource([write_tar(tmp_path / "a.tar", members)]), share=1.0)
    lacking = []
    for i in range(6):
        try:
            noisy.captions(i)
        except Reject:
            lacking.append(i)
    assert len(lacking) == 1 and lacking != [3]
    with pytest.raises(Reject):
        noisy[lacking[0]]


def test_shares_that_make_no_sense_are_refused(clean):
    for share in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match="must lie in 0..1"):
            ShuffledCaptions(clean, share=share)
    with pytest.raises(ValueError, match="two samples or more"):
        ShuffledCaptions(clean, share=0.05)
    with pytest.raises(IndexError):
        ShuffledCaptions(clean, share=0.5).captions(20)
