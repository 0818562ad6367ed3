"""Position embeddings."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int


def check_length(text: Int[Array, "n l"], length: int) -> None:
    """Raises ValueError when texts have more tokens than there are positions."""
    if text.shape[1] > length:
        raise ValueError(
            f"text may have at most {length} tokens, got {text.shape[1]}; "
            "truncate it or build the model with a larger length"
        )


def sincos_2d(rows: int, columns: int, width: int) -> Float[Array, "p w"]:
    """Fixed sine and cosine embeddings of a grid of patches.

    A quarter of the width each for the sine and cosine of the column, then of the row, at
    frequencies from 1 down to 1e-4 in geometric steps.

    Raises:
        ValueError: when the width does not divide by 4.

    References:
        Beyer et al., 2022, https://arxiv.org/abs/2205.01580; Chen et al., 2021 (MoCo v3),
        https://arxiv.org/abs/2104.02057.
    """
    if width % 4:
        raise ValueError(f"width must divide by 4 for 2-D sine positions, got {width}")
    quarter = width // 4
    frequency = 1e4 ** -(np.arange(quarter) / max(quarter - 1, 1))
    row, column = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    parts = []
    for place in (column, row):
        angle = np.outer(place.ravel(), frequency)
        parts += [np.sin(angle), np.cos(angle)]
    return jnp.asarray(np.concatenate(parts, axis=1), jnp.float32)
