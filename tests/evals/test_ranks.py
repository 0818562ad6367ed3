"""Ranks with ties lost and won, beside sorting by hand."""

import numpy as np
import pytest

from vlp.evals.ranks import class_ranks, gallery_ranks


def unit(rng, *shape):
    x = rng.normal(size=shape).astype(np.float32)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def by_sorting(scores, right):
    """How many wrong candidates score more than the best right one, for each row."""
    best = np.where(right, scores, -np.inf).max(axis=1, keepdims=True)
    return ((scores > best) & ~right).sum(axis=1)


def test_ranks_of_classes_are_those_of_sorting():
    rng = np.random.default_rng(0)
    zimg, zclass, labels = unit(rng, 300, 8), unit(rng, 17, 8), rng.integers(17, size=300)
    found = class_ranks(zimg, zclass, labels)
    wanted = by_sorting(zimg @ zclass.T, labels[:, None] == np.arange(17))
    np.testing.assert_array_equal(found.ranks.missed, wanted)
    np.testing.assert_array_equal(found.ranks.hit, wanted)
    np.testing.assert_array_equal(found.predicted, (zimg @ zclass.T).argmax(axis=1))


@pytest.mark.parametrize("queries", [(), (3,)])
def test_ranks_of_a_gallery_are_those_of_sorting_both_ways(queries):
    rng = np.random.default_rng(1)
    zimg, ztxt = unit(rng, 40, *queries, 8), unit(rng, 130, 8)
    of = np.concatenate([np.arange(40), rng.integers(39, size=90)])
    scores = np.einsum("n...d,md->mn...", zimg, ztxt)
    scores = scores.max(axis=2) if queries else scores
    right = of[:, None] == np.arange(40)
    texts, images = gallery_ranks(zimg, ztxt, of)
    np.testing.assert_array_equal(texts.missed, by_sorting(scores, right))
    np.testing.assert_array_equal(images.missed, by_sorting(scores.T, right.T))
    np.testing.assert_array_equal(images.hit, images.missed)


def test_a_tie_is_lost_in_one_rank_and_won_in_the_other():
    z = np.ones((3, 2), np.float32) / np.sqrt(2)
    texts, images = gallery_ranks(z, z, np.arange(3))
    for ranks in (texts, images, class_ranks(z, z, np.arange(3)).ranks):
        assert ranks.missed.tolist() == [2, 2, 2]
        assert ranks.hit.tolist() == [0, 0, 0]


def test_what_is_nan_or_has_no_text_is_never_found():
    rng = np.random.default_rng(2)
    zimg, ztxt = unit(rng, 4, 8), unit(rng, 3, 8)
    ztxt[1] = np.nan
    texts, images = gallery_ranks(zimg, ztxt, np.arange(3))
    assert texts.missed[1] == texts.hit[1] == 4
    assert images.missed[[1, 3]].tolist() == images.hit[[1, 3]].tolist() == [3, 3]
    ranks = class_ranks(np.full((1, 8), np.nan, np.float32), zimg, np.zeros(1, int)).ranks
    assert (ranks.missed[0], ranks.hit[0]) == (4, 4)


def test_blocks_change_nothing(monkeypatch):
    rng = np.random.default_rng(3)
    zimg, ztxt, of = unit(rng, 30, 8), unit(rng, 50, 8), rng.integers(30, size=50)
    whole = gallery_ranks(zimg, ztxt, of)
    monkeypatch.setattr("vlp.evals.ranks._HELD", 30 * 7)  # seven texts a block, the last one cut
    for one, other in zip(whole, gallery_ranks(zimg, ztxt, of), strict=True):
        np.testing.assert_array_equal(one.missed, other.missed)
