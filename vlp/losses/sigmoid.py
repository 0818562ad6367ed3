"""The pairwise sigmoid loss of SigLIP."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from vlp.losses.similarity import Embeddings, Similarity, mean_of, similarities
from vlp.losses.softmax import Positives, positive_pairs


def sigmoid_loss(
    zimg: Embeddings,
    ztxt: Embeddings,
    *,
    scale: Float[Array, ""] | float,
    bias: Float[Array, ""] | float,
    weight: Float[Array, " n"] | None = None,
    similarity: Similarity = "dot",
    positives: Positives | None = None,
) -> Float[Array, " n"]:
    """Each image's sum, over all texts, of the binary cross entropy "is this text mine?".

    Args:
        zimg, ztxt: unit-norm embeddings as the similarity takes them; row i of both is pair i.
        scale, bias: the logits are `scale * similarity + bias`.
        weight: pairs of weight 0 are no candidates for others and have loss 0; other values change
            nothing here, for the caller takes the weighted mean.
        similarity: as in `softmax_loss`; of two matrices the mean.
        positives: groups, whose equals belong together, or True where a text (column) belongs to
            an image; each pair by itself, if not given.

    Returns:
        Per-image loss in nats, float32.

    Raises:
        ValueError: when the positives are a matrix of numbers.

    References:
        Zhai et al., 2023, https://arxiv.org/abs/2303.15343, section 3.2.

    Example:
        >>> z = jnp.eye(2)
        >>> print(sigmoid_loss(z, z, scale=0.0, bias=0.0))  # 2 log 2
        [1.3862944 1.3862944]
    """
    logits = scale * mean_of(similarities(similarity, zimg, ztxt)) + bias
    own = jnp.eye(len(logits), dtype=bool) if positives is None else positive_pairs(positives)
    if own.dtype != bool:
        raise ValueError(
            f"positives of the sigmoid loss must be groups or True and False, got {own.dtype}; "
            "compare them with a threshold"
        )
    losses = -jax.nn.log_sigmoid(jnp.where(own, logits, -logits))
    if weight is not None:
        present = weight > 0
        losses = jnp.where(present[:, None] & present[None, :], losses, 0.0)
    return jnp.sum(losses, axis=1)
