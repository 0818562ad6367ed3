"""Vectors of unit norm."""

import numpy as np
from jaxtyping import Float


def unit_norm(x: Float[np.ndarray, "*b d"]) -> Float[np.ndarray, "*b d"]:
    """The vectors, divided by their norms; one of zeros stays so, and has the cosine 0 with all."""
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)
