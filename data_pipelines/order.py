"""Which sample comes at each place of the stream: a pure function of the seed and the place."""

import dataclasses
import threading
from fractions import Fraction
from typing import Any

import numpy as np

# First word of the seeds; see `data_pipelines.assemble` for the others.
_ORDER = 1
_ONE_AT_A_TIME = threading.Lock()


@dataclasses.dataclass(frozen=True)
class Mixture:
    """A source of several parts in fixed shares, whatever their sizes.

    Attributes:
      boundaries: index of the first sample of each part but the first.
      shares: of the stream that these parts have, each between 0 and 1; the rest is the first's.
    """

    boundaries: tuple[int, ...]
    shares: tuple[float, ...]

    def to_json(self) -> list[float]:
        """As it stands in the state of a loader."""
        return [*self.boundaries, *self.shares]


class Order:
    """The samples of a source, all of them in every epoch.

    Args:
      samples: in the source.
      seed: 0 to 2^32 - 1.
      shuffle: a permutation by (seed, epoch), else the source's order.
      part: which part of the source this is, so that parts have orders of their own.
    """

    def __init__(self, samples: int, *, seed: int, shuffle: bool, part: int = 0) -> None:
        self._samples = samples
        self._seed = seed
        self._shuffle = shuffle
        self._part = (part,) if part else ()
        self._epochs: dict[int, np.ndarray] = {}

    def __call__(self, place: int) -> tuple[int, int]:
        """The epoch and the sample's index at a place of the stream."""
        epoch, position = divmod(place, self._samples)
        if not self._shuffle:
            return epoch, position
        order = self._epochs.get(epoch)
        return epoch, int((self._permutation(epoch) if order is None else order)[position])

    def _permutation(self, epoch: int) -> np.ndarray:
        with _ONE_AT_A_TIME:
            if epoch not in self._epochs:
                # A batch may straddle two epochs, and threads may be a batch apart.
                self._epochs = {k: v for k, v in self._epochs.items() if abs(k - epoch) == 1}
                rng = np.random.default_rng([_ORDER, self._seed, epoch, *self._part])
                kind = np.uint32 if self._samples < 2**32 else np.int64
                self._epochs[epoch] = rng.permutation(self._samples).astype(kind)
            return self._epochs[epoch]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_epochs": {}}


class MixedOrder:
    """Parts of a source, each in an order and in epochs of its own, evenly interleaved.

    Of any stretch of the stream every part has its share, to less than a sample for two parts and
    to one more for each further one.

    Args:
      samples: in the source.
      mixture: where the parts meet, and their shares.
      seed, shuffle: as in `Order`.

    Raises:
      ValueError: a part is empty, or a share is not between 0 and 1.
    """

    def __init__(self, samples: int, *, mixture: Mixture, seed: int, shuffle: bool) -> None:
        self._firsts = (0, *mixture.boundaries)
        sizes = [
            stop - first
            for first, stop in zip(self._firsts, (*mixture.boundaries, samples), strict=True)
        ]
        if min(sizes) < 1:
            raise ValueError(
                f"every part of a mixture needs a sample, got {' and '.join(map(str, sizes))}; "
                "leave the share out to use one part alone"
            )
        # Exact at any place of the stream, where a product of floats would not be.
        shares = [Fraction(str(share)) for share in mixture.shares]
        for share in (*shares, 1 - sum(shares)):
            if not 0 < share < 1:
                raise ValueError(
                    f"the share of a part must lie between 0 and 1, got {float(share)}; leave the "
                    "shares out to use every sample equally often"
                )
        left = [sum(shares[part:], Fraction()) for part in range(len(sizes))]
        # Of what is not of the parts before, how much is of the parts behind.
        self._behind = [each / of for each, of in zip(left, (Fraction(1), *left), strict=False)]
        self._parts = [
            Order(size, seed=seed, shuffle=shuffle, part=part) for part, size in enumerate(sizes)
        ]

    def __call__(self, place: int) -> tuple[int, int]:
        """The epoch of the part, and the sample's index in the source, at a place of the stream."""
        for first, order, share in zip(self._firsts, self._parts, self._behind, strict=True):
            behind = int(place * share)
            if int((place + 1) * share) == behind:
                epoch, index = order(place - behind)
                return epoch, first + index
            place = behind
        raise AssertionError("nothing is behind the last part")
