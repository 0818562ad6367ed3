"""Ranks against a loop in numpy; ties, chunks, collapse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vlp import metrics


def loop_ranks(scores, is_true):
    """Rank by rank, candidate by candidate."""
    ranks = []
    for row, true in zip(scores, is_true, strict=True):
        best = max((s for s, t in zip(row, true, strict=True) if t), default=-np.inf)
        ranks.append(sum(s >= best for s, t in zip(row, true, strict=True) if not t))
    return ranks


def small_integers(seed, *shape):
    """Few distinct values: many ties, and products that are exact in float32."""
    return np.random.default_rng(seed).integers(-2, 3, shape).astype(np.float32)


def unit(x):
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("seed", range(4))
def test_ranks_of_tied_scores_equal_a_loop(seed):
    rng = np.random.default_rng(seed)
    scores, is_true = small_integers(seed, 17, 23), rng.random((17, 23)) < 0.1
    assert metrics.score_ranks(scores, is_true).tolist() == loop_ranks(scores, is_true)


@pytest.mark.parametrize(
    ("scores", "is_true", "rank"),
    [
        ([3.0, 2.0, 1.0], [1, 0, 0], 0),
        ([3.0, 2.0, 1.0], [0, 0, 1], 2),
        ([2.0, 2.0, 2.0], [1, 0, 0], 2),  # a tie counts against the model
        ([2.0, 2.0, 2.0], [1, 1, 0], 1),  # right candidates do not stand in each other's way
        ([3.0, 2.0, 1.0], [0, 1, 1], 1),  # the best right one counts
        ([3.0, 2.0, 1.0], [0, 0, 0], 3),  # nothing to be found: last
        ([np.nan, 2.0, 1.0], [1, 0, 0], 2),
        ([3.0, np.nan, 1.0], [1, 0, 0], 1),
    ],
)
def test_rank_of_one_query(scores, is_true, rank):
    row = metrics.score_ranks(np.array([scores], np.float32), np.array([is_true], bool))
    assert row.tolist() == [rank]


@pytest.mark.parametrize("chunks", [(1, 1), (7, 5), (4, 64), (64, 3), (1024, 8192)])
def test_chunked_ranks_equal_whole_ranks_with_several_right_candidates(chunks):
    queries, candidates = small_integers(1, 20, 4), small_integers(2, 31, 4)
    rng = np.random.default_rng(3)
    query_labels, candidate_labels = rng.integers(0, 8, 20), rng.integers(0, 8, 31)
    got = metrics.ranks(
        queries,
        candidates,
        query_labels=query_labels,
        candidate_labels=candidate_labels,
        query_chunk=chunks[0],
        candidate_chunk=chunks[1],
    )
    is_true = query_labels[:, None] == candidate_labels[None, :]
    assert got.tolist() == loop_ranks(queries @ candidates.T, is_true)


def test_padding_of_the_last_chunk_is_never_a_candidate():
    # All true scores are negative: rows of zeros would win if they counted.
    queries, candidates = np.ones((5, 3), np.float32), -np.ones((5, 3), np.float32)
    labels = np.zeros(5, int)
    got = metrics.ranks(
        queries, candidates, query_labels=labels, candidate_labels=labels, candidate_chunk=4
    )
    assert got.tolist() == [0] * 5


@pytest.mark.parametrize("chunk", [64, 1000])
def test_collapsed_embeddings_find_nothing(chunk):
    constant = np.tile(unit(np.random.default_rng(0).normal(size=(1, 96))), (200, 1))
    labels = np.arange(200)
    ranks = metrics.ranks(
        constant, constant, query_labels=labels, candidate_labels=labels, candidate_chunk=chunk
    )
    assert ranks.tolist() == [199] * 200
    assert metrics.recall_at_k(ranks, 10) == 0.0


def test_embeddings_that_differ_by_rounding_only_find_nothing():
    rng = np.random.default_rng(1)
    nearly = unit(np.ones((50, 64)) + 2e-7 * rng.normal(size=(50, 64)))
    labels = np.arange(50)
    ranks = metrics.ranks(nearly, nearly, query_labels=labels, candidate_labels=labels)
    assert metrics.recall_at_k(ranks, 10) == 0.0


def test_nan_embeddings_find_nothing():
    broken = np.full((20, 4), np.nan, np.float32)
    labels = np.arange(20)
    ranks = metrics.ranks(broken, broken, query_labels=labels, candidate_labels=labels)
    assert ranks.tolist() == [19] * 20


def test_a_duplicate_of_the_right_candidate_under_another_label_is_a_tie():
    z = unit(np.random.default_rng(2).normal(size=(6, 8)))
    candidates = np.concatenate([z, z[:1]])
    labels = np.arange(6)
    ranks = metrics.ranks(z, candidates, query_labels=labels, candidate_labels=np.arange(7))
    assert ranks.tolist() == [1, 0, 0, 0, 0, 0]


def test_the_whole_score_matrix_is_never_held():
    n, d = 4096, 8
    shapes = [jax.ShapeDtypeStruct((n, d), jnp.float32)] * 2
    shapes += [jax.ShapeDtypeStruct((n,), jnp.int32)] * 2
    shapes += [jax.ShapeDtypeStruct((), jnp.float32)]
    lowered = metrics._chunked_ranks.lower(*shapes, query_chunk=128, candidate_chunk=256)
    assert lowered.compile().memory_analysis().temp_size_in_bytes < n * n  # a matrix has four times


def test_ranks_of_no_queries_are_empty():
    got = metrics.ranks(
        np.zeros((0, 2), np.float32),
        np.ones((3, 2), np.float32),
        query_labels=np.zeros(0, int),
        candidate_labels=np.arange(3),
    )
    assert got.shape == (0,)


def test_an_empty_gallery_and_chunks_of_zero_are_refused():
    z, none, labels = np.ones((2, 2), np.float32), np.zeros((0, 2), np.float32), np.arange(2)
    with pytest.raises(ValueError, match="at least one candidate"):
        metrics.ranks(z, none, query_labels=labels, candidate_labels=labels[:0])
    with pytest.raises(ValueError, match="chunks must be positive, got query_chunk=0"):
        metrics.ranks(z, z, query_labels=labels, candidate_labels=labels, query_chunk=0)


def test_recall_at_k_is_the_share_of_ranks_below_k():
    ranks = np.array([0, 0, 1, 4, 5, 9])
    assert [float(metrics.recall_at_k(ranks, k)) for k in (1, 5, 10)] == pytest.approx(
        [2 / 6, 4 / 6, 1.0]
    )
    with pytest.raises(ValueError, match="at least 1, got 0"):
        metrics.recall_at_k(ranks, 0)


@pytest.mark.parametrize("top", [1, 5])
def test_accuracy_equals_a_loop_in_which_ties_miss(top):
    logits = small_integers(5, 40, 9)
    labels = np.random.default_rng(6).integers(0, 9, 40)
    hits = [
        sum(s >= row[y] for j, s in enumerate(row) if j != y) < top
        for row, y in zip(logits, labels, strict=True)
    ]
    assert float(metrics.accuracy(logits, labels, top=top)) == pytest.approx(np.mean(hits))


def test_accuracy_and_ranks_work_inside_jit():
    logits, labels = jnp.asarray(small_integers(5, 40, 9)), jnp.arange(40) % 9
    assert jax.jit(metrics.accuracy)(logits, labels) == metrics.accuracy(logits, labels)


def test_mean_per_class_recall_equals_a_loop_and_leaves_out_absent_classes():
    rng = np.random.default_rng(7)
    labels = rng.choice([0, 1, 1, 1, 4], 60)
    correct = rng.random(60) < 0.4
    classes = [correct[labels == k].mean() for k in range(6) if (labels == k).any()]
    got = metrics.mean_per_class_recall(correct, labels, num_classes=6)
    assert float(got) == pytest.approx(np.mean(classes))
