"""Which classes and which samples a model gets wrong; plain numbers for the page."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int


class ClassScore(NamedTuple):
    """How often a class is recognised: `right` of `samples`."""

    label: int
    right: int
    samples: int


class Confusion(NamedTuple):
    """Samples of one class that are taken for another; `rows` are theirs."""

    label: int
    predicted: int
    rows: Int[np.ndarray, " n"]


def worst_classes(
    labels: Int[np.ndarray, " n"], predicted: Int[np.ndarray, " n"], *, most: int
) -> list[ClassScore]:
    """The classes with the smallest share of right samples, of equal ones the largest first.

    Args:
      labels: of each sample.
      predicted: for each sample.
      most: how many classes.
    """
    size = int(max(labels.max(), predicted.max())) + 1 if len(labels) else 0
    counts = np.bincount(labels, minlength=size)
    right = np.bincount(labels[labels == predicted], minlength=size)
    there = np.flatnonzero(counts)
    order = np.lexsort((-counts[there], right[there] / counts[there]))
    return [ClassScore(int(c), int(right[c]), int(counts[c])) for c in there[order][:most]]


def confusions(
    labels: Int[np.ndarray, " n"], predicted: Int[np.ndarray, " n"], *, most: int
) -> list[Confusion]:
    """The commonest pairs of a class and another that its samples are taken for.

    Args:
      labels: of each sample.
      predicted: for each sample.
      most: how many pairs.
    """
    wrong = np.flatnonzero(labels != predicted)
    pairs = np.stack([labels[wrong], predicted[wrong]], axis=1)
    kinds, which, counts = np.unique(pairs, axis=0, return_inverse=True, return_counts=True)
    which = which.reshape(-1)
    order = np.argsort(-counts, kind="stable")[:most]
    return [Confusion(int(kinds[i][0]), int(kinds[i][1]), wrong[which == i]) for i in order]


def furthest_apart(
    first: Float[np.ndarray, "2 n"], second: Float[np.ndarray, "2 n"], *, most: int, seed: int = 0
) -> tuple[list[int], list[int]]:
    """The samples on which one model is most better than another, and those on which it is worse.

    Args:
      first: what each sample adds to the first one's metric, above and below.
      second: the same of the second one.
      most: how many of each; of equal ones some are drawn.
      seed: of the draws.
    """
    shares = [each[0] / np.maximum(each[1], 1e-12) for each in (first, second)]
    difference = np.where((first[1] > 0) & (second[1] > 0), shares[0] - shares[1], 0.0)
    drawn = np.random.default_rng(seed).permutation(difference.size)
    order = drawn[np.argsort(-difference[drawn], kind="stable")]
    better = [int(i) for i in order[:most] if difference[i] > 0]
    worse = [int(i) for i in order[::-1][:most] if difference[i] < 0]
    return better, worse


def named(label: int, names: Sequence[str]) -> str:
    """A class's name, or its number where names are not known."""
    return names[label] if 0 <= label < len(names) else f"class {label}"
