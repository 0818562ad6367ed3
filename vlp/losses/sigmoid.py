"""The pairwise sigmoid loss of SigLIP."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from vlp.losses.softmax import cosines


def sigmoid_loss(
    zimg: Float[Array, "n d"],
    ztxt: Float[Array, "n d"],
    *,
    scale: Float[Array, ""] | float,
    bias: Float[Array, ""] | float,
    weight: Float[Array, " n"] | None = None,
) -> Float[Array, " n"]:
    """Each image's sum, over all texts, of the binary cross entropy "is this text mine?".

    Args:
        zimg, ztxt: unit-norm embeddings; row i of both is pair i.
        scale, bias: the logits are `scale * cosine + bias`.
        weight: pairs of weight 0 are no candidates for others and have loss 0; other values change
            nothing here, for the caller takes the weighted mean.

    Returns:
        Per-image loss in nats, float32.

    References:
        Zhai et al., 2023, https://arxiv.org/abs/2303.15343, section 3.2.

    Example:
        >>> z = jnp.eye(2)
        >>> print(sigmoid_loss(z, z, scale=0.0, bias=0.0))  # 2 log 2
        [1.3862944 1.3862944]
    """
    logits = scale * cosines(zimg, ztxt) + bias
    own = jnp.eye(zimg.shape[0], dtype=bool)
    losses = -jax.nn.log_sigmoid(jnp.where(own, logits, -logits))
    if weight is not None:
        present = weight > 0
        losses = jnp.where(present[:, None] & present[None, :], losses, 0.0)
    return jnp.sum(losses, axis=1)
