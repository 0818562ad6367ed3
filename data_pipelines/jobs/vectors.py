"""Embedded pictures and captions, as `vlp embed` writes them."""

import numpy as np
import pyarrow.parquet as pq
from jaxtyping import Float, Int


def read_vectors(stem: str) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, "n d"]]:
    """The samples of a shard's rows, ascending, and their vectors in float32.

    Args:
      stem: the path of a shard without its suffix: beside `.npy` lies a `.parquet` with the ids.
    """
    ids = pq.read_table(f"{stem}.parquet", columns=["id"])["id"].to_numpy()
    return ids, np.asarray(np.load(f"{stem}.npy", mmap_mode="r", allow_pickle=False), np.float32)
