"""The scores of one way of retrieval: recall@k in its several senses, and nDCG."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from vlp.evals import gains
from vlp.evals.gains import chance_of_recall
from vlp.evals.measures import Measure, quotient

HIT, SHARE, GAIN = "hit_rate", "recall", "nDCG"
MORE = (HIT, SHARE, GAIN)


@dataclass(frozen=True)
class Way:
    """One way of retrieval: queries, each with its right candidates.

    Attributes:
        lost: ranks with every tie lost; of all right candidates, or of the best of each query,
            which is enough for R@k and the hit rate.
        won: the same with every tie won; None where that is not known.
        query: of each of these ranks.
        picture: of each query: the sample with which it counts.
        right: how many candidates are right for each query.
        candidates: how many each query has.
        pictures: how many samples there are.
    """

    lost: Int[np.ndarray, " p"]
    won: Int[np.ndarray, " p"] | None
    query: Int[np.ndarray, " p"]
    picture: Int[np.ndarray, " q"]
    right: Int[np.ndarray, " q"]
    candidates: int
    pictures: int

    def measure(self, name: str, k: int, member: Bool[np.ndarray, " n"]) -> Measure:
        """A score over the queries of some pictures.

        Args:
            name: "R", "hit_rate", "recall" or "nDCG".
            k: cut-off.
            member: which pictures.
        """
        asked = np.ones(len(self.right), bool) if name == "R" else self.right > 0
        value = {"R": self._any, HIT: self._any, SHARE: self._share, GAIN: self._gain}[name]
        below = self._by_picture(asked, member)
        above = self._by_picture(value(self.lost, k) * asked, member)
        best = None if self.won is None else self._by_picture(value(self.won, k) * asked, member)
        right = self.right[asked & member[self.picture]]
        chance = self._chance(name, right, k) if len(right) else None
        return quotient(above, below, chance=chance, if_hit=best)

    def _by_picture(self, values: np.ndarray, member: np.ndarray) -> Float[np.ndarray, " n"]:
        return np.bincount(self.picture, values, self.pictures) * member

    def _any(self, ranks: np.ndarray, k: int) -> np.ndarray:
        return np.bincount(self.query, ranks < k, len(self.right)) > 0

    def _share(self, ranks: np.ndarray, k: int) -> np.ndarray:
        return self._of_places(gains.recall, ranks, k)

    def _gain(self, ranks: np.ndarray, k: int) -> np.ndarray:
        return self._of_places(gains.ndcg, ranks, k)

    def _of_places(self, of: Callable[..., np.ndarray], ranks: np.ndarray, k: int) -> np.ndarray:
        places = gains.places(self.query, ranks)
        return of(self.query, places, queries=len(self.right), k=k)

    def _chance(self, name: str, right: Int[np.ndarray, " q"], k: int) -> float:
        if name == SHARE:
            return min(1.0, k / self.candidates)
        if name == GAIN:
            return gains.ndcg_by_chance(right, self.candidates, k)
        return float(chance_of_recall(right, self.candidates, k).mean())
