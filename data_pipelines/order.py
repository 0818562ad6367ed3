"""Which sample comes at each place of the stream: a pure function of the seed and the place."""

import dataclasses
from fractions import Fraction

import numpy as np

from data_pipelines.checks import check_whole
from data_pipelines.mixtures import Mixture
from data_pipelines.permutation import permutation

# First words of the seeds; `data_pipelines.fields` has the others.
_ORDER, _BLOCKS, _DRAWS = 1, 5, 6


@dataclasses.dataclass(frozen=True)
class Blocks:
    """Shuffling for stores that read best in sequence: far ones, and disks that spin.

    Blocks of samples that follow each other are permuted, and so many blocks at a time are a window
    in which samples are shuffled; nothing outside of the window is read meanwhile.

    Attributes:
      size: samples in a block.
      window: blocks.

    Raises:
      ValueError: one of them is not a whole number of at least 1.
    """

    size: int = 4096
    window: int = 16

    def __post_init__(self) -> None:
        check_whole("the samples of a block", self.size)
        check_whole("the blocks of a window", self.window)


class Order:
    """The samples of a source, all of them in every epoch.

    Args:
      samples: in the source.
      seed: 0 to 2^32 - 1.
      shuffle: a permutation by (seed, epoch), else the source's order.
      blocks: shuffles within windows of blocks; None shuffles all alike.
      part: which part of the source this is, so that parts have orders of their own.
    """

    def __init__(
        self,
        samples: int,
        *,
        seed: int,
        shuffle: bool,
        blocks: Blocks | None = None,
        part: int = 0,
    ) -> None:
        self._samples, self._seed, self._part = samples, seed, part
        self._shuffle, self._blocks = shuffle, blocks

    def __call__(self, place: int) -> tuple[int, int]:
        """The epoch and the sample's index at a place of the stream."""
        epoch, position = divmod(place, self._samples)
        if not self._shuffle:
            return epoch, position
        if self._blocks is not None:
            return epoch, self._in_blocks(position, self._seed, epoch, self._part)
        return epoch, permutation(self._samples, _ORDER, self._seed, epoch, self._part)(position)

    def _in_blocks(self, position: int, *words: int) -> int:
        assert self._blocks is not None
        size, window = self._blocks.size, self._blocks.window
        whole, rest = divmod(self._samples, size)
        # The last block may be a shorter one; it comes anywhere, and the others around it.
        short = permutation(whole + 1, _BLOCKS, *words, 0)(0) if rest else whole + 1
        gap = size - rest if rest else 0

        def first(slot: int) -> int:
            return min(slot * size - gap * (slot > short), self._samples)

        def slot_of(position: int) -> tuple[int, int]:
            behind = position >= short * size + rest
            return divmod(position + gap * behind, size)

        number = slot_of(position)[0] // window
        start, stop = first(number * window), first((number + 1) * window)
        inner = permutation(stop - start, _BLOCKS, *words, 2, number)(position - start)
        slot, offset = slot_of(start + inner)
        if slot == short:
            return whole * size + offset
        block = permutation(whole, _BLOCKS, *words, 1)(slot - (slot > short))
        return block * size + offset


class Draws:
    """Samples of a source with replacement: each place has one at random, whatever came before.

    Args:
      samples: in the source.
      seed: 0 to 2^32 - 1.
      part: as in `Order`.
    """

    def __init__(self, samples: int, *, seed: int, part: int = 0) -> None:
        self._samples, self._seed, self._part = samples, seed, part

    def __call__(self, place: int) -> tuple[int, int]:
        """The number of the draw, which stands for an epoch so that a sample that comes again is
        augmented in another way, and the sample's index."""
        rng = np.random.default_rng([_DRAWS, self._seed, self._part, place])
        return place, int(rng.integers(self._samples))


class MixedOrder:
    """Parts of a source, each in an order and in epochs of its own, evenly interleaved.

    Of any stretch of the stream every part has its share, to less than a sample for two parts and
    to one more for each further one. Ours and not grain's `mix`, which rounds proportions and ends
    with the part that is used up first.

    Args:
      samples: in the source.
      mixture: where the parts meet, and their shares.
      seed, shuffle, blocks: as in `Order`.

    Raises:
      ValueError: a part is empty, or a share is not between 0 and 1.
    """

    def __init__(
        self,
        samples: int,
        *,
        mixture: Mixture,
        seed: int,
        shuffle: bool,
        blocks: Blocks | None = None,
    ) -> None:
        sizes = mixture.sizes(samples)
        shares = mixture.exact
        left = [sum(shares[part:], Fraction()) for part in range(1, len(shares))]
        # Of what is not of the parts before, how much is of the parts behind: whole numbers, for a
        # product of floats would not be exact at any place of the stream.
        behind = [each / of for each, of in zip(left, (Fraction(1), *left), strict=False)]
        self._behind = [(each.numerator, each.denominator) for each in behind] + [(0, 1)]
        self._firsts = (0, *mixture.boundaries)
        self._parts = [
            Draws(size, seed=seed, part=part)
            if part in mixture.drawn
            else Order(size, seed=seed, shuffle=shuffle, blocks=blocks, part=part)
            for part, size in enumerate(sizes)
        ]

    def part_of(self, place: int) -> tuple[int, int]:
        """Which part a place of the stream is of, and how many of its samples came before."""
        for part, (of, whole) in enumerate(self._behind):
            behind = place * of // whole
            if (place + 1) * of // whole == behind:
                return part, place - behind
            place = behind
        raise AssertionError("nothing is behind the last part")

    def __call__(self, place: int) -> tuple[int, int]:
        """The epoch of the part, and the sample's index in the source, at a place of the stream."""
        part, before = self.part_of(place)
        epoch, index = self._parts[part](before)
        return epoch, self._firsts[part] + index
