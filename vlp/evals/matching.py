"""Whether a model tells its pairs from the hardest wrong ones: accuracy of image-text matching."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float, Int

from vlp.evals.measures import Measure, Weights, quotient, scores_of
from vlp.metrics import scores

_CHUNK = 1024  # queries scored at once


class Pairs(NamedTuple):
    """Rows of images and texts that are asked about.

    Attributes:
      images, texts: One of each a pair.
      kind: 0 = they belong together, 1 = an image with a wrong text, 2 = a text with a wrong image.
    """

    images: Int[np.ndarray, " p"]
    texts: Int[np.ndarray, " p"]
    kind: Int[np.ndarray, " p"]


KINDS = ("true_pairs", "wrong_captions", "wrong_images")


def log_odds(model: Any, image: Any, text: Int[Array, "n l"]) -> Float[Array, " n"]:
    """Log-odds of "they belong together", in nats."""
    logits = model.match(image, model.encode_text(text), text)
    return logits[:, 1] - logits[:, 0]


def mined_pairs(
    zimg: Float[np.ndarray, "n *q d"],
    ztxt: Float[np.ndarray, "m d"],
    *,
    image_of_text: Int[np.ndarray, " m"],
    text: Int[np.ndarray, "m l"],
) -> Pairs:
    """Every true pair, each image with its nearest wrong text, each text with its nearest image.

    Nearest by the dual encoder. A text of the image itself, or equal to one of these, is no wrong
    one; an image of an equal text neither. Who has no wrong partner is not asked about one.

    Args:
      zimg: Image embeddings.
      ztxt: Text embeddings.
      image_of_text: Row of `zimg` each text describes.
      text: Token ids of the texts: equal rows are equal texts.

    Raises:
      ValueError: If there is no wrong pair at all.
    """
    m = len(ztxt)
    _, same = np.unique(text, axis=0, return_inverse=True)
    texts_like = _groups(same)
    images_like = [np.unique(image_of_text[texts]) for texts in texts_like]
    asked = np.unique(image_of_text)
    own = _groups(image_of_text)  # in the order of `asked`
    right_texts = [
        np.concatenate([texts_like[label] for label in np.unique(same[texts])]) for texts in own
    ]
    wrong_texts = _nearest(zimg[asked], ztxt, right=right_texts)
    wrong_images = _nearest(ztxt, zimg, right=[images_like[label] for label in same])
    any_text, any_image = wrong_texts >= 0, wrong_images >= 0
    if not any_text.any() and not any_image.any():
        raise ValueError("matching needs two different captions at least, and all are equal here")
    images = [image_of_text, asked[any_text], wrong_images[any_image]]
    texts = [np.arange(m), wrong_texts[any_text], np.flatnonzero(any_image)]
    kinds = [np.full(len(part), kind) for kind, part in enumerate(images)]
    return Pairs(np.concatenate(images), np.concatenate(texts), np.concatenate(kinds))


def matching(
    odds: Float[np.ndarray, " p"], kind: Int[np.ndarray, " p"]
) -> dict[str, dict[str, float | int]]:
    """How well log-odds tell true pairs from wrong ones; 0 and NaN are never right.

    Args:
      odds: Log-odds of each pair.
      kind: See `Pairs`.

    Returns:
      `metrics`, `chance` and `counts`: of `all` the share of right answers (`accuracy`), the mean
      of that over true and over wrong pairs (`balanced`) and the chance that a true pair gets more
      than a wrong one (`auc`, ties half); the accuracy of `true_pairs`, `wrong_captions` and
      `wrong_images`. Chance is one answer for all: of the better kind, for the accuracy.
    """
    result = scores_of(measures(odds, kind), samples=len(odds))
    result["counts"] = {"all/queries": len(odds)}
    for number, name in enumerate(KINDS):
        if (member := kind == number).any():
            result["counts"][f"{name}/queries"] = int(member.sum())
    return result


def measures(odds: Float[np.ndarray, " p"], kind: Int[np.ndarray, " p"]) -> dict[str, Measure]:
    """The metrics of `matching`, with chance where one answer for all has a score.

    Args:
      odds: Log-odds of each pair.
      kind: See `Pairs`.
    """
    true = kind == 0
    right = np.where(true, odds > 0, odds < 0)
    most = float(max(true.mean(), 1 - true.mean()))
    ways = (quotient(right & true, true), quotient(right & ~true, ~true))
    found = {
        "all/accuracy": quotient(right, chance=most),
        "all/balanced": Measure(lambda w: (ways[0].of(w) + ways[1].of(w)) / 2, 0.5),
        "all/auc": Measure(_auc(odds, true), 0.5),
    }
    for number, name in enumerate(KINDS):
        if (member := kind == number).any():
            found[f"{name}/accuracy"] = quotient(right & member, member)
    return found


def _auc(odds: Float[np.ndarray, " p"], true: np.ndarray) -> Callable[[Weights], float]:
    """The area under the ROC curve, NaN without pairs of both sorts."""
    good, bad = np.flatnonzero(true), np.flatnonzero(~true)
    theirs = np.nan_to_num(odds[bad], nan=np.inf)
    good = good[np.argsort(np.nan_to_num(odds[good], nan=-np.inf))]
    own = np.nan_to_num(odds[good], nan=-np.inf)
    below, to_equal = (np.searchsorted(own, theirs, side=side) for side in ("left", "right"))

    def of(w: Weights) -> float:
        sums = np.concatenate([[0.0], np.cumsum(w[good])])
        pairs = sums[-1] * w[bad].sum()
        lost = w[bad] @ (sums[below] + sums[to_equal]) / 2
        return float(1 - lost / pairs) if pairs else float("nan")

    return of


def _groups(labels: Int[np.ndarray, " m"]) -> list[np.ndarray]:
    """The places of each label that occurs, by ascending label."""
    order = np.argsort(labels, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)


def _nearest(
    queries: Float[np.ndarray, "n *q d"],
    candidates: Float[np.ndarray, "c *r d"],
    *,
    right: Sequence[np.ndarray],
) -> Int[np.ndarray, " n"]:
    """The nearest candidate of each query that is not among its right ones; -1 if all are."""
    best = []
    for start in range(0, len(queries), _CHUNK):
        found = scores(queries[start : start + _CHUNK], candidates)
        for row, places in zip(found, right[start : start + _CHUNK], strict=True):
            row[places] = -np.inf
        nearest = found.argmax(axis=1)
        none = np.isneginf(found.max(axis=1))
        best.append(np.where(none, -1, nearest))
    return np.concatenate(best)
