"""Sample numbers for a device, whose usual integers have 32 bits."""

import numpy as np
from jaxtyping import Int

_LARGEST = 2**31 - 1


def device_ids(ids: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """The numbers as int32: the same below 2**31, folded into that range above, -1 where negative.

    Two numbers above may become one, once in 2**31 pairs of them: enough to tell rows of a batch
    apart and to draw for each, and never negative, which means "no sample".
    """
    ids = np.asarray(ids, np.int64)
    return np.where(ids < 0, -1, (ids ^ (ids >> 31)) & _LARGEST).astype(np.int32)


def id_words(ids: Int[np.ndarray, " n"]) -> Int[np.ndarray, "n 2"]:
    """The numbers in full, as their low and their high 32 bits."""
    return np.ascontiguousarray(ids, "<i8").view("<i4").reshape(-1, 2)
