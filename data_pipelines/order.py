"""Which sample comes at each place of the stream: a pure function of the seed and the place."""

import dataclasses
import threading
from fractions import Fraction
from typing import Any

import numpy as np

# First word of the seeds; see `data_pipelines.assemble` for the others.
_ORDER = 1


@dataclasses.dataclass(frozen=True)
class Mixture:
    """A source of two parts in fixed shares, whatever their sizes.

    Attributes:
      boundary: index of the second part's first sample.
      share: of the stream that comes from the second part, between 0 and 1.
    """

    boundary: int
    share: float


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
        self._lock = threading.Lock()

    def __call__(self, place: int) -> tuple[int, int]:
        """The epoch and the sample's index at a place of the stream."""
        epoch, position = divmod(place, self._samples)
        if not self._shuffle:
            return epoch, position
        order = self._epochs.get(epoch)
        return epoch, int((self._permutation(epoch) if order is None else order)[position])

    def _permutation(self, epoch: int) -> np.ndarray:
        with self._lock:
            if epoch not in self._epochs:
                # A batch may straddle two epochs, and threads may be a batch apart.
                self._epochs = {k: v for k, v in self._epochs.items() if abs(k - epoch) == 1}
                rng = np.random.default_rng([_ORDER, self._seed, epoch, *self._part])
                kind = np.uint32 if self._samples < 2**32 else np.int64
                self._epochs[epoch] = rng.permutation(self._samples).astype(kind)
            return self._epochs[epoch]

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        del state["_lock"]
        return state | {"_epochs": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())


class MixedOrder:
    """Two parts of a source, each in an order and in epochs of its own, evenly interleaved.

    Of any stretch of the stream the second part has its share, to less than a sample.

    Args:
      samples: in the source.
      mixture: where the parts meet, and the second one's share.
      seed, shuffle: as in `Order`.

    Raises:
      ValueError: a part is empty, or the share is not between 0 and 1.
    """

    def __init__(self, samples: int, *, mixture: Mixture, seed: int, shuffle: bool) -> None:
        boundary, share = mixture.boundary, mixture.share
        if not 0 < boundary < samples:
            raise ValueError(
                f"both parts of a mixture need a sample, got {boundary} and {samples - boundary}; "
                "leave the share out to use one part alone"
            )
        if not 0 < share < 1:
            raise ValueError(
                f"the share of a mixture must lie between 0 and 1, got {share}; leave the share "
                "out to use every sample equally often"
            )
        self._boundary = boundary
        # Exact at any place of the stream, where a product of floats would not be.
        self._share = Fraction(str(share))
        self._first = Order(boundary, seed=seed, shuffle=shuffle)
        self._second = Order(samples - boundary, seed=seed, shuffle=shuffle, part=1)

    def __call__(self, place: int) -> tuple[int, int]:
        """The epoch of the part, and the sample's index in the source, at a place of the stream."""
        before = int(place * self._share)
        if int((place + 1) * self._share) == before:
            return self._first(place - before)
        epoch, index = self._second(before)
        return epoch, self._boundary + index
