"""Captions of which one is drawn in a way of their own."""

import abc
from collections.abc import Iterable

import numpy as np


class Drawn(tuple[str | bytes, ...], abc.ABC):
    """All captions of a sample, one of which training draws by `draw`."""

    @abc.abstractmethod
    def draw(self, rng: np.random.Generator) -> str | bytes:
        """One of them, or one made of them."""

    @abc.abstractmethod
    def several(self, rng: np.random.Generator, count: int) -> tuple[str | bytes, ...]:
        """So many of them without one twice, each as `draw` makes it; all, if there are fewer."""


class ByWeight(Drawn):
    """Captions with the probability of each.

    Args:
      captions: at least one, each with its weight above 0; weights need not sum to 1.
    """

    weights: tuple[float, ...]

    def __new__(cls, captions: Iterable[tuple[str | bytes, float]]) -> "ByWeight":
        pairs = list(captions)
        made = super().__new__(cls, (caption for caption, _ in pairs))
        total = sum(weight for _, weight in pairs)
        made.weights = tuple(weight / total for _, weight in pairs)
        return made

    def draw(self, rng: np.random.Generator) -> str | bytes:
        """One caption, each as often as its weight says."""
        return self[int(rng.choice(len(self), p=self.weights))]

    def several(self, rng: np.random.Generator, count: int) -> tuple[str | bytes, ...]:
        """One after the other, each by the weights of those that are left."""
        count = min(count, len(self))
        places = rng.choice(len(self), size=count, replace=False, p=self.weights)
        return tuple(self[place] for place in places.tolist())
