"""A permutation of 0 to n - 1, of which any place can be looked at without the others.

A Feistel network over a grid of about the square root of n on each side: each round moves one
coordinate by a keyed hash of the other, which can be undone, so the whole is one to one. What falls
outside of n is sent through again until it falls inside (cycle walking).

Ours and not grain's `shuffle`: that takes 32-bit indices, its epoch k of seed s is epoch k - 1 of
seed s + 1, and nothing says that its result stays the same from one version to the next, where
every checkpoint depends on it.

References:
  Black and Rogaway, "Ciphers with arbitrary finite domains", 2002 (the grid, cycle walking);
  Luby and Rackoff, 1988 (rounds); Steele et al., "Fast splittable pseudorandom number generators",
  2014 (the hash of 64 bits).
"""

import functools
import math

import numpy as np

_ROUNDS = 8
_MASK = 2**64 - 1


class Permutation:
    """Where each place goes, in microseconds and a few bytes, whatever n.

    Args:
      n: how many places.
      words: seed of the permutation, whole numbers from 0.
    """

    def __init__(self, n: int, *words: int) -> None:
        self._n = n
        self._wide = math.isqrt(max(n - 1, 0)) + 1
        self._high = -(-n // self._wide)
        keys = np.random.SeedSequence(words).generate_state(_ROUNDS, np.uint64).tolist()
        self._keys = list(zip(keys[::2], keys[1::2], strict=True))

    def __call__(self, place: int) -> int:
        """What stands at a place, 0 to n - 1."""
        wide, high, n = self._wide, self._high, self._n
        while True:
            row, column = divmod(place, wide)
            for one, other in self._keys:
                column = (column + _hashed(row + one)) % wide
                row = (row + _hashed(column + other)) % high
            place = row * wide + column
            if place < n:
                return place


def _hashed(value: int) -> int:
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


@functools.lru_cache(maxsize=1024)
def permutation(n: int, *words: int) -> Permutation:
    """The permutation of that size and seed; made once, for a stream asks for it at each place."""
    return Permutation(n, *words)
