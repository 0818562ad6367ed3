"""Queries with what was found for them, chosen by seed, as plain data for the report."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Array, Float, Int

from vlp import metrics


def choose(
    ranks: Int[Array | np.ndarray, " n"],
    *,
    count: int = 12,
    misses: int = 3,
    top: int = 6,
    kinds: Sequence[str] | None = None,
    seed: int = 0,
) -> list[int]:
    """A varied, seeded choice of queries, with a given number of failures.

    Args:
      ranks: Rank of each query, 0 = first.
      count: Queries to choose; fewer where there are fewer.
      misses: How many of them should have rank `top` or worse.
      top: How many results are shown.
      kinds: A label for each query (its category, say); kinds take turns.
      seed: Same seed, same choice.

    Returns:
      Indices of queries, hits and misses mixed.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(ranks))
    if kinds is not None:
        order = _take_turns(order, kinds)
    hit = np.asarray(ranks)[order] < top
    missed = order[~hit][: max(min(misses, count), count - int(hit.sum()))]
    found = order[hit][: count - len(missed)]
    return [int(i) for i in rng.permutation(np.concatenate([found, missed]))]


def text_queries(
    texts: Sequence[int],
    *,
    zimg: Float[np.ndarray, "n *q d"],
    ztxt: Float[np.ndarray, "m d"],
    image_of_text: Int[np.ndarray, " m"],
    captions: Sequence[str],
    image_at: Callable[[int], np.ndarray],
    top: int = 6,
) -> list[dict[str, Any]]:
    """For each text the images found first, for `report.write_report`.

    Args:
      texts: Rows of `ztxt`, e.g. from `choose`.
      zimg: The gallery.
      ztxt: Text embeddings.
      image_of_text: Row of `zimg` each text describes.
      captions: The texts.
      image_at: Row of `zimg` to its picture, uint8 `[h,w,3]` or `[h,w,4]`.
      top: Images shown for a query.

    Returns:
      Dictionaries with `query`, `rank` (0 = first), `candidates`, `found` (a list of `image`,
      `caption`, `score`, `right`) and `answer` (`image`, `caption`).
    """
    chosen = np.asarray(list(texts), dtype=int)
    images = np.arange(len(zimg))
    first_text = {int(image): i for i, image in reversed(list(enumerate(image_of_text)))}
    queries = []
    for text in chosen.tolist():
        scores = metrics.scores(zimg, ztxt[text])
        answer = int(image_of_text[text])

        def picture(image: int) -> dict[str, Any]:
            caption = captions[first_text[image]] if image in first_text else ""
            return {"image": image_at(image), "caption": caption}

        found = [
            picture(i) | {"score": float(scores[i]), "right": i == answer}
            for i in _best(scores, images == answer, top)
        ]
        queries.append(
            {
                "query": captions[text],
                "rank": _rank(scores, images == answer),
                "candidates": len(zimg),
                "found": found,
                "answer": picture(answer) | {"caption": captions[text]},
            }
        )
    return queries


def image_queries(
    images: Sequence[int],
    *,
    zimg: Float[np.ndarray, "n *q d"],
    ztxt: Float[np.ndarray, "m d"],
    image_of_text: Int[np.ndarray, " m"],
    captions: Sequence[str],
    image_at: Callable[[int], Any],
    top: int = 5,
) -> list[dict[str, Any]]:
    """For each image the captions found first; arguments as in `text_queries`.

    Returns:
      Dictionaries with `image`, `caption` (its first own), `rank`, `candidates` and `found` (a
      list of `caption`, `score`, `right`).
    """
    chosen = np.asarray(list(images), dtype=int)
    queries = []
    for image in chosen.tolist():
        scores = metrics.scores(zimg[[image]], ztxt)[0]
        right = np.asarray(image_of_text) == image
        own = np.flatnonzero(right)
        found = [
            {"caption": captions[i], "score": float(scores[i]), "right": bool(right[i])}
            for i in _best(scores, right, top)
        ]
        queries.append(
            {
                "image": image_at(image),
                "caption": captions[own[0]] if len(own) else "",
                "rank": _rank(scores, right),
                "candidates": len(ztxt),
                "found": found,
            }
        )
    return queries


def _rank(scores: np.ndarray, right: np.ndarray) -> int:
    return int(metrics.score_ranks(scores[None], right[None], tolerance=metrics.TIE_TOLERANCE)[0])


def _best(scores: np.ndarray, right: np.ndarray, top: int) -> list[int]:
    # Equal scores: the wrong one first, as the ranks count them.
    return np.lexsort((right, -scores))[:top].tolist()


def _take_turns(order: np.ndarray, kinds: Sequence[str]) -> np.ndarray:
    """The first of each kind, then the second of each, and so on; within that, as before."""
    seen: dict[str, int] = {}
    turns = []
    for i in order.tolist():
        turns.append(seen.setdefault(kinds[i], 0))
        seen[kinds[i]] += 1
    return order[np.argsort(turns, kind="stable")]
