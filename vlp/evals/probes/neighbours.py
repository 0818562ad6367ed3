"""The nearest samples of a training set, and what they vote for."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

_TRAIN, _ASKED = 4096, 1024  # rows at once


def nearest(
    asked: Float[np.ndarray, "n d"], train: Float[np.ndarray, "m d"], *, k: int
) -> tuple[Float[np.ndarray, "n k"], Int[np.ndarray, "n k"]]:
    """The cosines of the k nearest training samples, largest first, and which these are.

    Of equal ones the earlier sample is nearer.

    Args:
      asked: Unit-norm rows.
      train: Unit-norm rows, at least `k`.
      k: How many.
    """
    if not len(asked):
        return np.zeros((0, k), np.float32), np.zeros((0, k), np.int32)
    blocks = _blocks(train.astype(np.float32), min(_TRAIN, len(train)))
    device = jax.device_put(blocks)
    rows = min(_ASKED, len(asked))
    parts = []
    for part in _blocks(asked.astype(np.float32), rows):
        parts.append(jax.device_get(_nearest(part, device, np.int32(len(train)), k=k)))
    cosines, which = (np.concatenate(each)[: len(asked)] for each in zip(*parts, strict=True))
    return cosines, which


def votes(
    cosines: Float[np.ndarray, "n k"],
    labels: Int[np.ndarray, "n k"],
    *,
    num_classes: int,
    temperature: float,
) -> Float[np.ndarray, "n c"]:
    """The votes for each class: of each neighbour exp(cosine / temperature).

    They are divided by the largest neighbour's, which changes no order.

    Args:
      cosines: Of the neighbours, largest first.
      labels: Of the neighbours.
      num_classes: How many classes there are.
      temperature: Over 0; smaller listens more to the nearest.

    References:
      Caron et al., 2021 (DINO), https://arxiv.org/abs/2104.14294; Wu et al., 2018.
    """
    cosines = cosines.astype(np.float64)
    weights = np.exp((cosines - cosines[:, :1]) / temperature)
    found = np.zeros((len(cosines), num_classes))
    np.add.at(found, (np.arange(len(cosines))[:, None], labels), weights)
    found[np.isnan(cosines).any(axis=1)] = np.nan
    return found


@partial(jax.jit, static_argnames="k")
def _nearest(
    asked: Float[Array, "n d"], train: Float[Array, "b m d"], count: Int[Array, ""], *, k: int
) -> tuple[Array, Array]:
    rows = train.shape[1]

    def step(best: tuple[Array, Array], block: tuple[Array, Array]) -> tuple[Any, None]:
        samples, first = block
        which = first + jnp.arange(rows, dtype=jnp.int32)
        found = jnp.matmul(asked, samples.T, precision=jax.lax.Precision.HIGHEST)
        found = jnp.where((which < count)[None], found, -jnp.inf)
        which = jnp.broadcast_to(which[None], found.shape)
        values = jnp.concatenate([best[0], found], axis=1)
        top, place = jax.lax.top_k(values, k)  # of equal ones the first
        both = jnp.concatenate([best[1], which], axis=1)
        return (top, jnp.take_along_axis(both, place, axis=1)), None

    start = (
        jnp.full((asked.shape[0], k), -jnp.inf, asked.dtype),
        jnp.zeros((asked.shape[0], k), jnp.int32),
    )
    firsts = jnp.arange(train.shape[0], dtype=jnp.int32) * rows
    return jax.lax.scan(step, start, (train, firsts))[0]


def _blocks(x: np.ndarray, rows: int) -> np.ndarray:
    """Rows in blocks, zeros at the end."""
    padded = np.pad(x, ((0, -len(x) % rows), (0, 0)))
    return padded.reshape(-1, rows, x.shape[1])
