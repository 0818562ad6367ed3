"""Linear classifiers, and where the right class of each sample stands among their scores."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from vlp.evals.ranks import Placed, Ranks

_HELD = 2**22  # scores at once


@dataclass(frozen=True, eq=False)
class Linear:
    """A linear classifier.

    Attributes:
      weights: of each feature for each class.
      bias: of each class; -inf where a class was never seen, which is never said.
    """

    weights: Float[np.ndarray, "d k"]
    bias: Float[np.ndarray, " k"]

    def __call__(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n k"]:
        """The scores of the classes, in the precision of the weights."""
        return x.astype(self.weights.dtype) @ self.weights + self.bias


def classified(
    score: Callable[[Float[np.ndarray, "n d"]], Float[np.ndarray, "n k"]],
    x: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, " n"],
    *,
    num_classes: int,
    tolerance: float = 0.0,
) -> Placed:
    """Where the right class of each sample stands among all classes.

    Args:
      score: from features to the scores of all classes; asked for a part of the samples at a time.
      x: Features.
      labels: Of each sample.
      num_classes: How many classes there are.
      tolerance: Scores this close are a tie.
    """
    rows = max(1, _HELD // num_classes)
    starts = range(0, len(x), rows)
    parts = [
        _ranked(score(x[i : i + rows]), labels[i : i + rows], tolerance=tolerance) for i in starts
    ]
    none = np.zeros(0, np.int64)
    missed, hit, predicted = (np.concatenate([none, *part]) for part in zip(*parts, strict=True))
    return Placed(Ranks(missed, hit), predicted)


def accuracy(score: Linear, x: Float[np.ndarray, "n d"], labels: Int[np.ndarray, " n"]) -> float:
    """The share of samples whose own class scores highest, of several the first."""
    rows = max(1, _HELD // len(score.bias))
    starts = range(0, len(x), rows)
    right = sum(
        int((score(x[i : i + rows]).argmax(axis=1) == labels[i : i + rows]).sum()) for i in starts
    )
    return right / len(x)


def places(labels: Int[np.ndarray, " n"]) -> tuple[Int[np.ndarray, " c"], Int[np.ndarray, " n"]]:
    """The classes that occur, and which of these each label is."""
    seen, place = np.unique(labels, return_inverse=True)
    return seen, place.astype(np.int32)


def spread(
    weights: Float[np.ndarray, "d c"],
    bias: Float[np.ndarray, " c"],
    *,
    seen: Sequence[int] | Int[np.ndarray, " c"],
    num_classes: int,
) -> Linear:
    """A classifier of the classes that were seen as one of all classes."""
    whole = np.zeros((len(weights), num_classes), weights.dtype)
    whole[:, seen] = weights
    shift = np.full(num_classes, -np.inf, weights.dtype)
    shift[seen] = bias
    return Linear(whole, shift)


def _ranked(
    scores: Float[np.ndarray, "n k"], labels: Int[np.ndarray, " n"], *, tolerance: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    own = np.take_along_axis(scores, labels[:, None], axis=1)
    wrong = np.arange(scores.shape[1])[None, :] != labels[:, None]
    missed = (wrong & ~(scores < own - tolerance)).sum(axis=1)
    hit = (wrong & (scores > own + tolerance)).sum(axis=1)
    lost = np.isnan(own[:, 0])
    missed[lost] = hit[lost] = scores.shape[1]
    return missed, hit, scores.argmax(axis=1)
