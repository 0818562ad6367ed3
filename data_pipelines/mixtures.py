"""How much of a stream each of several sources has: by share, weight, epochs or temperature."""

import bisect
import dataclasses
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

Number = float | Fraction


@dataclasses.dataclass(frozen=True)
class Mixture:
    """A source of several parts in fixed shares, whatever their sizes.

    Attributes:
      boundaries: index of the first sample of each part but the first.
      shares: of the stream that these parts have, each between 0 and 1; the rest is the first's.
      names: of all parts, for people; their numbers where there are none.
      drawn: numbers of the parts of which samples are drawn with replacement.
    """

    boundaries: tuple[int, ...]
    shares: tuple[Number, ...]
    names: tuple[str, ...] = ()
    drawn: tuple[int, ...] = ()

    @property
    def exact(self) -> list[Fraction]:
        """The shares of all parts.

        Raises:
          ValueError: one is not between 0 and 1.
        """
        shares = [_exact(share) for share in self.shares]
        whole = [1 - sum(shares, Fraction()), *shares]
        for share in (*whole[1:], whole[0]):
            if not 0 < share < 1 and len(whole) > 1:
                raise ValueError(
                    f"the share of a part must lie between 0 and 1, got {float(share)}; leave the "
                    "shares out to use every sample equally often"
                )
        return whole

    @property
    def labels(self) -> tuple[str, ...]:
        """What reports call the parts."""
        return self.names or tuple(map(str, range(len(self.boundaries) + 1)))

    def sizes(self, samples: int) -> list[int]:
        """The samples of each part of a source.

        Raises:
          ValueError: one has none.
        """
        edges = zip((0, *self.boundaries), (*self.boundaries, samples), strict=True)
        sizes = [stop - first for first, stop in edges]
        if min(sizes) < 1:
            raise ValueError(
                f"every part of a mixture needs a sample, got {' and '.join(map(str, sizes))}; "
                "leave the share out to use one part alone"
            )
        return sizes

    def part(self, index: int) -> int:
        """Which part a sample of the source is of."""
        return bisect.bisect_right(self.boundaries, index)

    def to_json(self) -> list[Any]:
        """As it stands in the state of a loader."""
        drawn = [f"drawn {part}" for part in self.drawn]
        return [*self.boundaries, *(_plain(share) for share in self.shares), *drawn]


def by_weight(weights: Sequence[Number]) -> list[Fraction]:
    """The shares of a whole that are to each other as the weights are.

    Raises:
      ValueError: a weight is not above 0.
    """
    exact = [_exact(weight) for weight in weights]
    if min(exact) <= 0:
        raise ValueError(f"the weight of a part must be above 0, got {float(min(exact))}")
    return [weight / sum(exact) for weight in exact]


def by_temperature(sizes: Sequence[int], temperature: float) -> list[Fraction]:
    """Shares as n^(1/T) of n samples: 1 is by size, and the higher T, the more alike.

    Args:
      sizes: samples of each part.
      temperature: T, at least 1.

    Raises:
      ValueError: a temperature below 1, or no samples.

    References:
      Conneau and Lample, "Cross-lingual language model pretraining", 2019 (alpha = 1 / T).
    """
    if not temperature >= 1:
        raise ValueError(f"the temperature of a mixture must be at least 1, got {temperature}")
    # Nine digits: the same on every machine, whatever its power of floats does to the last bit.
    return by_weight([Fraction(f"{size ** (1 / temperature):.9g}") for size in sizes])


def within_epochs(
    shares: Sequence[Fraction],
    sizes: Sequence[int],
    *,
    samples: int,
    most: Mapping[int, Number],
    least: Mapping[int, Number],
) -> list[Fraction]:
    """Shares of which no part comes more or less often in a stream than it may.

    What a part may not have goes to the others as their shares are to each other, and likewise
    what it must have comes from them.

    Args:
      shares: of the parts, with a sum of 1.
      sizes: samples of each.
      samples: in the stream.
      most, least: epochs of a part, by its number.

    Raises:
      ValueError: there is no such mixture, for all parts are held.

    References:
      Chung et al., "UniMax: fairer and more effective language sampling for large-scale
      multilingual pretraining", 2023 (arXiv 2304.09151).
    """
    parts = range(len(shares))
    low = [_exact(least.get(part, 0)) * sizes[part] / samples for part in parts]
    high = [
        min(_exact(most.get(part, samples)) * size / samples, Fraction(1))
        for part, size in enumerate(sizes)
    ]
    crossed = any(one > other for one, other in zip(low, high, strict=True))
    if sum(low) > 1 or sum(high) < 1 or crossed:
        raise ValueError(
            f"a stream of {samples:,} samples cannot keep to the epochs of its parts: they allow "
            f"{float(sum(low)):.3g} to {float(sum(high)):.3g} of it; change max_epochs or "
            "min_epochs, or the length of the run"
        )
    fixed: dict[int, Fraction] = {}
    while True:
        free = [part for part in parts if part not in fixed]
        rest = 1 - sum(fixed.values(), Fraction())
        scale = rest / sum(shares[part] for part in free) if free else Fraction(1)
        now = {part: shares[part] * scale for part in free}
        held = {part: min(max(share, low[part]), high[part]) for part, share in now.items()}
        # Only the side that is further from the whole is held: the other may yet be met.
        excess = sum(held.values(), Fraction()) - rest
        new = {
            part: share
            for part, share in held.items()
            if (share > now[part] and excess >= 0) or (share < now[part] and excess <= 0)
        }
        if not new:
            return [fixed.get(part, now.get(part, Fraction())) for part in parts]
        fixed |= new


def _exact(number: Number) -> Fraction:
    return number if isinstance(number, Fraction) else Fraction(str(number))


def _plain(share: Number) -> Any:
    return str(share) if isinstance(share, Fraction) else share
