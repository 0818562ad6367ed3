"""Reranked retrieval beside loops over all pairs."""

import jax.numpy as jnp
import numpy as np
import pytest
from fusion_model import Fusion, batches, captions

from vlp.evals.embed import Encoder
from vlp.evals.matching import log_odds
from vlp.evals.pairs import read_pairs
from vlp.evals.rerank import reranked
from vlp.evals.retrieval import both_ranks

N, M = 9, 23


@pytest.fixture(scope="module")
def gallery():
    """9 images, 23 captions, none of the last image; and the log-odds of all pairs."""
    rng = np.random.default_rng(3)
    images, text = rng.integers(0, 256, (N, 4, 4, 3), np.uint8), captions(rng, M)
    image_of_text = rng.integers(0, N - 1, M)
    model = Fusion()
    i, t = np.divmod(np.arange(N * M), M)
    encoded = model.encode_image(jnp.asarray(images[i]))
    every = np.asarray(log_odds(model, encoded, jnp.asarray(text[t]))).reshape(N, M)
    return dict(
        zimg=np.asarray(model.encode_image(jnp.asarray(images)).embedding),
        ztxt=np.asarray(model.encode_text(jnp.asarray(text)).embedding),
        image_of_text=image_of_text,
    ), dict(images=images, text=text, model=model, every=every)


def loop(first, second, is_true, k):
    """The rank of one query: the best k by `first`, ordered anew by `second`; a tie is a miss."""
    order = sorted(range(len(first)), key=lambda c: (-first[c], bool(is_true[c])))
    order = sorted(order[:k], key=lambda c: (-second[c], bool(is_true[c]))) + order[k:]
    # Not a place but the wrong ones in front: an image may have several right texts.
    best = next(place for place, c in enumerate(order) if is_true[c])
    return sum(not is_true[c] for c in order[:best])


def loops(vectors, second, k):
    zimg, ztxt, owner = vectors["zimg"], vectors["ztxt"], vectors["image_of_text"]
    scores = zimg @ ztxt.T
    texts = [loop(scores[:, t], second[:, t], np.arange(N) == owner[t], k) for t in range(M)]
    images = [loop(scores[i], second[i], owner == i, k) for i in np.unique(owner)]
    return texts, images


def ranks(vectors, every, **settings):
    before = both_ranks(**vectors)
    asked = []

    def odds(images, texts):
        asked.append(len(images))
        return every[images, texts]

    after = reranked(before, **vectors, log_odds=odds, **settings)
    return after, asked


@pytest.mark.parametrize("k", [1, 2, 5, 9, 23, 1000])
@pytest.mark.parametrize("by", ["match", "match_and_cosine"])
def test_ranks_equal_a_loop_over_all_pairs(gallery, k, by):
    vectors, rest = gallery
    second = rest["every"]
    if by == "match_and_cosine":
        second = second + vectors["zimg"] @ vectors["ztxt"].T
    after, _ = ranks(vectors, rest["every"], k=k, by=by)
    texts, images = loops(vectors, second, k)
    assert after.texts.tolist() == texts
    assert after.images.tolist() == images


def test_the_whole_gallery_reordered_is_retrieval_by_the_match_alone(gallery):
    vectors, rest = gallery
    after, asked = ranks(vectors, rest["every"], k=M, by="match")
    texts, images = loops(vectors | dict(zimg=np.zeros((N, 1)), ztxt=np.zeros((M, 1))),
                          rest["every"], M)  # fmt: skip
    assert (after.texts.tolist(), after.images.tolist()) == (texts, images)
    assert asked == [N * M]  # each pair once, although both ways ask for it


def test_one_candidate_changes_nothing_and_more_change_no_recall_at_that_many(gallery):
    vectors, rest = gallery
    before = both_ranks(**vectors)
    after, _ = ranks(vectors, rest["every"], k=1, by="match")
    for now, then in zip(after, before, strict=True):
        assert now.tolist() == then.tolist()
    after, _ = ranks(vectors, rest["every"], k=4, by="match")
    changed = False
    for now, then in zip(after, before, strict=True):
        outside = then >= 4
        assert now[outside].tolist() == then[outside].tolist()
        changed |= (now != then).any()
    assert changed
    assert ((after.texts < 4) == (before.texts < 4)).all()


def test_the_model_that_reads_both_gives_the_same_through_blocks(gallery):
    vectors, rest = gallery
    encoder = Encoder.from_model(rest["model"])

    def odds(images, texts):
        chosen = dict(images=images, texts=(rest["text"][texts],), at_once=8)
        return read_pairs(encoder, batches(rest["images"], 4), function=log_odds, **chosen)

    after = reranked(both_ranks(**vectors), **vectors, k=5, by="match", log_odds=odds)
    texts, images = loops(vectors, rest["every"], 5)
    assert (after.texts.tolist(), after.images.tolist()) == (texts, images)


def test_ties_count_against_the_model_in_both_stages(gallery):
    vectors, rest = gallery
    constant = {**vectors, "zimg": np.ones((N, 1), np.float32), "ztxt": np.ones((M, 1), np.float32)}
    after, _ = ranks(constant, rest["every"], k=5, by="match")
    assert (after.texts == N - 1).all()  # all wrong ones are chosen first, so nothing is found
    after, _ = ranks(vectors, np.zeros_like(rest["every"]), k=4, by="match")
    before = both_ranks(**vectors)
    assert after.texts[before.texts < 4].tolist() == [3] * (before.texts < 4).sum()


def test_settings_that_are_none_are_refused(gallery):
    vectors, rest = gallery
    with pytest.raises(ValueError, match="rerank must be 1 at least, or 0"):
        ranks(vectors, rest["every"], k=-2, by="match")
    with pytest.raises(ValueError, match="match, match_and_cosine, got 'cosine'"):
        ranks(vectors, rest["every"], k=2, by="cosine")
