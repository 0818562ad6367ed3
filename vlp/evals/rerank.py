"""Retrieval in two stages: the dual encoder's best candidates, ordered anew by reading both."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from vlp.evals.retrieval import Ranks
from vlp.metrics import TIE_TOLERANCE, score_ranks, scores

BY = ("match", "match_and_cosine")

_TIE = 1e-5  # nats: the rounding error of a log-odds
_CHUNK = 1024  # queries scored at once


def check_rerank(k: int, *, by: str) -> None:
    """Raises ValueError for what `reranked` could not order by."""
    if k < 1:
        raise ValueError(f"rerank must be 1 at least, or 0 to leave it out, got {k}; try 16")
    if by not in BY:
        raise ValueError(f"rerank_by must be one of {', '.join(BY)}, got {by!r}")


def reranked(
    before: Ranks,
    *,
    zimg: Float[np.ndarray, "n *q d"],
    ztxt: Float[np.ndarray, "m d"],
    image_of_text: Int[np.ndarray, " m"],
    k: int,
    by: str,
    log_odds: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> Ranks:
    """The ranks after the best `k` candidates of each query were ordered anew, both ways.

    What the dual encoder ranks behind them stays where it is. Ties count against the model in both
    stages. A pair that both ways ask for is read once.

    Args:
      before: Ranks by the dual encoder, see `retrieval.both_ranks`.
      zimg: Unit-norm image embeddings.
      ztxt: Unit-norm text embeddings.
      image_of_text: Row of `zimg` each text describes.
      k: Candidates that are ordered anew; more than there are means all.
      by: "match": log-odds of the match; "match_and_cosine": that plus the cosine.
      log_odds: From rows of images and of texts, `[p]` each, to their log-odds of a match.

    Raises:
      ValueError: If `k` or `by` is none of these.

    References:
      Li et al., 2021 (ALBEF), https://arxiv.org/abs/2107.07651, section 4, and Li et al., 2022
      (BLIP), https://arxiv.org/abs/2201.12086, for the sum. Departs: their code orders by the logit
      of the match alone, which says less than the log-odds, as the other logit is free.
    """
    check_rerank(k, by=by)
    n, m = len(zimg), len(ztxt)
    asked = np.unique(image_of_text)
    images = _candidates(ztxt, zimg, query_labels=image_of_text, labels=np.arange(n), k=k)
    texts = _candidates(zimg[asked], ztxt, query_labels=asked, labels=image_of_text, k=k)
    by_text = images * m + np.arange(m)[:, None]
    by_image = asked[:, None] * m + texts
    pairs, place = np.unique(
        np.concatenate([by_text.ravel(), by_image.ravel()]), return_inverse=True
    )
    rows, columns = np.divmod(pairs, m)
    read = np.asarray(log_odds(rows, columns), np.float32)
    if by == "match_and_cosine":
        cosines = np.einsum("p...d,pd->p...", zimg[rows], ztxt[columns])
        read = read + cosines.reshape(len(pairs), -1).max(axis=1)
    of_text = read[place[: by_text.size]].reshape(by_text.shape)
    of_image = read[place[by_text.size :]].reshape(by_image.shape)
    return Ranks(
        _after(before.texts, of_text, images == image_of_text[:, None]),
        _after(before.images, of_image, image_of_text[texts] == asked[:, None]),
    )


def _candidates(
    queries: Float[np.ndarray, "n *q d"],
    gallery: Float[np.ndarray, "c *r d"],
    *,
    query_labels: Int[np.ndarray, " n"],
    labels: Int[np.ndarray, " c"],
    k: int,
) -> Int[np.ndarray, "n k"]:
    """The best candidates of each query, in no order; of tied ones the wrong ones, as ranks say."""
    k = min(k, len(gallery))
    found = []
    for start in range(0, len(queries), _CHUNK):
        part = slice(start, start + _CHUNK)
        cosines = scores(queries[part], gallery)
        cosines += np.float32(TIE_TOLERANCE) * (query_labels[part, None] != labels[None])
        found.append(np.argpartition(-cosines, k - 1, axis=1)[:, :k])
    return np.concatenate(found)


def _after(
    before: Int[np.ndarray, " q"], scores: Float[np.ndarray, "q k"], is_true: np.ndarray
) -> Int[np.ndarray, " q"]:
    """New ranks where a right candidate is among the chosen, the old ones elsewhere."""
    ranks = np.asarray(score_ranks(scores, is_true, tolerance=_TIE))
    # Not above the chosen: rounding may have put a candidate on either side of the edge.
    return np.where(is_true.any(axis=1), ranks, np.maximum(before, scores.shape[1]))
