"""Tokens in front of a vocabulary: logits of words are large, and made where they are looked at."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float


class Words(NamedTuple):
    """What the logits of words are the product of.

    Attributes:
        tokens: in the dtype of the product.
        kernel: of which each column is a word's.
        bias: of each word; None for none.
    """

    tokens: Float[Array, "n l w"]
    kernel: Float[Array, "w v"]
    bias: Float[Array, " v"] | None = None

    def logits(self) -> Float[Array, "n l v"]:
        """Of every word at every place, float32."""
        x = self.tokens.reshape(-1, self.tokens.shape[-1])
        logits = (x @ self.kernel.astype(x.dtype)).astype(jnp.float32)
        if self.bias is not None:
            logits = logits + self.bias[None]
        return logits.reshape(*self.tokens.shape[:2], -1)
