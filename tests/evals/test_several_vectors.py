"""Images of several vectors each, as BLIP-2's queries make: judged by the nearest of them."""

import numpy as np

from vlp import metrics
from vlp.evals.classification import classification
from vlp.evals.examples import image_queries, text_queries
from vlp.evals.matching import mined_pairs
from vlp.evals.ranks import gallery_ranks
from vlp.evals.rerank import reranked
from vlp.evals.retrieval import both_ranks
from vlp.evals.search import nearest

N, M, Q, D = 7, 9, 3, 5
OWNER = np.array([0, 1, 2, 3, 4, 5, 6, 0, 3])


def unit(*shape, seed):
    z = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return z / np.linalg.norm(z, axis=-1, keepdims=True)


ZIMG, ZTXT = unit(N, Q, D, seed=0), unit(M, D, seed=1)
BEST = np.einsum("nqd,md->nqm", ZIMG, ZTXT).max(axis=1)  # images, texts


def test_the_score_is_the_largest_product_whoever_asks():
    np.testing.assert_allclose(metrics.scores(ZIMG, ZTXT), BEST, atol=1e-6)
    np.testing.assert_allclose(metrics.scores(ZTXT, ZIMG), BEST.T, atol=1e-6)
    np.testing.assert_allclose(metrics.scores(ZIMG, ZTXT[4]), BEST[:, 4], atol=1e-6)
    np.testing.assert_array_equal(metrics.scores(ZIMG[:, 0], ZTXT), ZIMG[:, 0] @ ZTXT.T)


def test_ranks_are_those_of_the_whole_matrix():
    right = OWNER[None] == np.arange(N)[:, None]
    texts, images = gallery_ranks(ZIMG, ZTXT, OWNER)
    for ours, found, is_true in ((images, BEST, right), (texts, BEST.T, right.T)):
        want = metrics.score_ranks(found, is_true, tolerance=1e-6)
        np.testing.assert_array_equal(ours.missed, want)


def test_pairs_are_mined_and_ordered_anew_by_the_nearest_vector():
    text = np.arange(M)[:, None]
    pairs = mined_pairs(ZIMG, ZTXT, image_of_text=OWNER, text=text)
    wrong = np.where(np.arange(N)[:, None] == OWNER[None], -np.inf, BEST)
    np.testing.assert_array_equal(pairs.texts[pairs.kind == 1], wrong.argmax(axis=1))
    np.testing.assert_array_equal(pairs.images[pairs.kind == 2], wrong.argmax(axis=0))
    before = both_ranks(ZIMG, ZTXT, OWNER)
    after = reranked(
        before, zimg=ZIMG, ztxt=ZTXT, image_of_text=OWNER, k=3, by="match_and_cosine",
        log_odds=lambda images, texts: np.zeros(len(images)),
    )  # fmt: skip
    np.testing.assert_array_equal(after.texts, before.texts)
    np.testing.assert_array_equal(after.images, before.images)


def test_search_classes_and_the_report_show_the_nearest_first():
    rows, scores = nearest(ZIMG, ZTXT[2], top=3)
    np.testing.assert_array_equal(rows, np.argsort(-BEST[:, 2])[:3])
    np.testing.assert_allclose(scores, np.sort(BEST[:, 2])[::-1][:3], atol=1e-6)
    labels = BEST[:, :4].argmax(axis=1)
    assert classification(ZIMG, ZTXT[:4], labels)["metrics"]["top1"] == 1.0
    shared = dict(zimg=ZIMG, ztxt=ZTXT, image_of_text=OWNER, captions=[*"abcdefghi"])
    shown = text_queries([2], **shared, image_at=lambda row: row, top=1)[0]["found"][0]
    assert shown["image"] == BEST[:, 2].argmax()
    shown = image_queries([1], **shared, image_at=lambda row: row, top=1)[0]["found"][0]
    assert shown["caption"] == "abcdefghi"[BEST[1].argmax()]
