"""The best of a grid of settings by a validation score, without trying all of them."""

from collections.abc import Callable, Mapping, Sequence

_COARSE, _SPAN = 16, 8


def peak(size: int, score: Callable[[Sequence[int]], Mapping[int, float]]) -> int:
    """The place of the best setting on a grid, found from coarse to fine.

    First every 16th, then, around the best so far, those 8, 4, 2 and 1 steps away. Of equal ones
    the first of the grid is taken; where all score 0, the very first.

    Args:
      size: Of the grid; 97 has CLIP's 8 steps a decade over 12 decades.
      score: From places that were not asked for yet to their scores; several at once where
        these do not depend on each other.

    References:
      Radford et al., 2021, section A.3; clip_benchmark.metrics.linear_probe.
    """
    known: dict[int, float] = {}

    def best(places: Sequence[int]) -> int:
        new = [place for place in dict.fromkeys(places) if place not in known]
        known.update(score(new) if new else {})
        top = max(known[place] for place in places)
        return next(place for place in places if known[place] == top) if top > 0 else 0

    found, span = best(range(0, size, _COARSE)), _SPAN
    while span:
        found = best((max(found - span, 0), found, min(found + span, size - 1)))
        span //= 2
    return found
