"""Ranks with ties lost and won, beside sorting by hand."""

import numpy as np
import pytest

from vlp.evals import ranks
from vlp.evals.ranks import class_ranks, gallery_ranks, pair_ranks


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
    for both in (texts, images, class_ranks(z, z, np.arange(3)).ranks):
        assert both.missed.tolist() == [2, 2, 2]
        assert both.hit.tolist() == [0, 0, 0]


def test_what_is_nan_or_has_no_text_is_never_found():
    rng = np.random.default_rng(2)
    zimg, ztxt = unit(rng, 4, 8), unit(rng, 3, 8)
    ztxt[1] = np.nan
    texts, images = gallery_ranks(zimg, ztxt, np.arange(3))
    assert texts.missed[1] == texts.hit[1] == 4
    assert images.missed[[1, 3]].tolist() == images.hit[[1, 3]].tolist() == [3, 3]
    found = class_ranks(np.full((1, 8), np.nan, np.float32), zimg, np.zeros(1, int)).ranks
    assert (found.missed[0], found.hit[0]) == (4, 4)


def test_blocks_change_nothing(monkeypatch):
    rng = np.random.default_rng(3)
    zimg, ztxt, of = unit(rng, 30, 8), unit(rng, 50, 8), rng.integers(30, size=50)
    whole = gallery_ranks(zimg, ztxt, of)
    monkeypatch.setattr("vlp.evals.ranks._HELD", 30 * 7)  # seven texts a block, the last one cut
    for one, other in zip(whole, gallery_ranks(zimg, ztxt, of), strict=True):
        np.testing.assert_array_equal(one.missed, other.missed)


def test_nan_of_a_wrong_class_counts_as_a_tie():
    zclass = np.eye(3, dtype=np.float32)
    zclass[2] = np.nan
    found = class_ranks(np.eye(3, dtype=np.float32)[:1], zclass, np.array([0]))
    assert (found.ranks.missed[0], found.ranks.hit[0], found.first[0]) == (1, 0, 1)


def test_ties_by_order_are_those_of_a_stable_sort():
    rng = np.random.default_rng(4)
    zimg, labels = rng.integers(3, size=(200, 6)).astype(np.float32), rng.integers(6, size=200)
    found = class_ranks(zimg, np.eye(6, dtype=np.float32), labels)
    order = np.argsort(-zimg, axis=1, kind="stable")
    np.testing.assert_array_equal(found.first, (order == labels[:, None]).argmax(axis=1))
    np.testing.assert_array_equal(found.predicted, zimg.argmax(axis=1))
    others = np.where(np.arange(6) == labels[:, None], -1, zimg)
    np.testing.assert_array_equal(found.wrong, others.argmax(axis=1))


def test_of_several_right_classes_the_best_counts():
    rng = np.random.default_rng(5)
    zimg, right = unit(rng, 50, 6), rng.random((50, 6)) < 0.4
    right[:, 0] |= ~right.any(axis=1)
    found = class_ranks(zimg, np.eye(6, dtype=np.float32), right)
    np.testing.assert_array_equal(found.ranks.missed, by_sorting(zimg, right))
    np.testing.assert_array_equal(found.first, by_sorting(zimg, right))


@pytest.mark.parametrize("queries", [(), (2,)])
def test_each_of_several_right_ones_has_a_rank_among_the_wrong_ones(queries):
    rng = np.random.default_rng(6)
    zimg, ztxt = unit(rng, 15, *queries, 8), unit(rng, 40, 8)
    belongs = rng.random((40, 15)) < 0.15
    belongs[0], belongs[:, 0] = False, False  # a text and an image without partners
    texts, images = np.nonzero(belongs)
    scores = np.einsum("n...d,md->mn...", zimg, ztxt)
    scores = scores.max(axis=2) if queries else scores
    of_texts, of_images = pair_ranks(zimg, ztxt, images=images, texts=texts)
    for place, (text, image) in enumerate(zip(texts, images, strict=True)):
        above = scores > scores[text, image]
        assert of_texts.missed[place] == (above[text] & ~belongs[text]).sum()
        assert of_images.hit[place] == (above[:, image] & ~belongs[:, image]).sum()


def test_pairs_of_one_text_each_have_the_ranks_of_a_gallery():
    rng = np.random.default_rng(7)
    zimg, ztxt, of = unit(rng, 20, 8), unit(rng, 33, 8), rng.integers(20, size=33)
    of_texts, of_images = pair_ranks(zimg, ztxt, images=of, texts=np.arange(33))
    texts, images = gallery_ranks(zimg, ztxt, of)
    np.testing.assert_array_equal(of_texts.missed, texts.missed)
    best = [of_images.missed[of == image].min(initial=33) for image in range(20)]
    np.testing.assert_array_equal(best, images.missed)


def test_embeddings_that_differ_by_rounding_only_find_nothing():
    rng = np.random.default_rng(8)
    nearly = np.ones((50, 64)) + 2e-7 * rng.normal(size=(50, 64))
    nearly = (nearly / np.linalg.norm(nearly, axis=1, keepdims=True)).astype(np.float32)
    texts, images = gallery_ranks(nearly, nearly, np.arange(50))
    assert set(texts.missed) == set(images.missed) == {49}


def test_the_whole_score_matrix_is_never_held(monkeypatch):
    held, n, m = [], 300, 500
    among = ranks._among

    def counting(zimg, text, *others, **how):
        held.append(len(zimg) * len(text))
        return among(zimg, text, *others, **how)

    monkeypatch.setattr(ranks, "_among", counting)
    monkeypatch.setattr(ranks, "_HELD", 100 * n)
    rng = np.random.default_rng(9)
    gallery_ranks(unit(rng, n, 4), unit(rng, m, 4), rng.integers(n, size=m))
    assert held == [100 * n] * 5
