"""What each stage is computed in."""

import ml_dtypes
import numpy as np
import pytest

from tests.interop.tiny import make_run
from vlp.evals.ranks import class_ranks, gallery_ranks
from vlp.sweeps.precision import Stages, computed_in, stages_of

LOW = Stages("bfloat16", "bfloat16", "bfloat16", "bfloat16")


def test_each_program_has_its_own_stages():
    assert stages_of("fp32", "classification") == Stages()
    assert stages_of("clip_benchmark", "classification") == LOW
    assert stages_of("datacomp", "classification") == Stages(text="bfloat16")
    assert stages_of("datacomp", "retrieval") == LOW
    with pytest.raises(ValueError, match="precision must be"):
        stages_of("fp16", "retrieval")


def test_towers_compute_in_what_is_asked_with_the_same_weights():
    model = make_run("clip").model
    half = computed_in(model, stages_of("datacomp", "classification"))
    assert (model.image.dtype, model.text.dtype) == ("float32", "float32")
    assert (half.image.dtype, half.text.dtype) == ("float32", "bfloat16")
    np.testing.assert_array_equal(half.text.tokens[...], model.text.tokens[...])
    ids = np.asarray([[3, 4, 5, 1]], np.int32)
    ours, theirs = (np.asarray(m.encode_text(ids).embedding, np.float32) for m in (model, half))
    assert 0 < np.abs(ours - theirs).max() < 0.05
    assert computed_in(half, stages_of("own", "classification")) is half
    again = computed_in(half, stages_of("fp32", "classification"))
    np.testing.assert_array_equal(np.asarray(again.encode_text(ids).embedding), ours)


def test_vectors_are_rounded_to_bfloat16_where_stages_say_so():
    x = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    assert Stages().rounded(x) is x
    low = LOW.rounded(x)
    np.testing.assert_array_equal(low, x.astype(ml_dtypes.bfloat16).astype(np.float32))
    np.testing.assert_array_equal(LOW.logits_of(x), LOW.rounded(100 * x))


def test_scores_that_bfloat16_cannot_tell_apart_tie():
    zimg = np.asarray([[1, 0.001]], np.float32)
    zclass = np.asarray([[0.5, 1], [0.5, 0]], np.float32)
    exact = class_ranks(zimg, zclass, np.asarray([0]))
    low = class_ranks(zimg, zclass, np.asarray([0]), dtype="bfloat16")
    assert (exact.ranks.missed[0], exact.ranks.hit[0]) == (0, 0)
    assert (low.ranks.missed[0], low.ranks.hit[0]) == (1, 0)
    texts, images = gallery_ranks(zclass, zimg, np.asarray([0]), dtype="bfloat16")
    assert (texts.missed[0], texts.hit[0]) == (1, 0)
