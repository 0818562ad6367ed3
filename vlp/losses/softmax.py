"""The symmetric softmax loss of CLIP (InfoNCE)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

MASKED = -1e30  # a finite minus infinity: no NaN in gradients, even where everything is masked


def softmax_loss(
    zimg: Float[Array, "n d"],
    ztxt: Float[Array, "n d"],
    *,
    scale: Float[Array, ""] | float,
    weight: Float[Array, " n"] | None = None,
) -> Float[Array, " n"]:
    """The mean of each pair's two cross entropies: its text among all texts, its image among all.

    Args:
        zimg, ztxt: unit-norm embeddings; row i of both is pair i.
        scale: multiplier of the cosine similarities (not its logarithm).
        weight: pairs of weight 0 are no candidates for others and have loss 0; other values change
            nothing here, for the caller takes the weighted mean.

    Returns:
        Per-pair loss in nats, float32.

    References:
        Radford et al., 2021, https://arxiv.org/abs/2103.00020, figure 3; van den Oord et al., 2018,
        https://arxiv.org/abs/1807.03748.

    Example:
        >>> z = jnp.eye(4)
        >>> print(softmax_loss(z, z, scale=0.0))  # log 4
        [1.3862944 1.3862944 1.3862944 1.3862944]
    """
    logits = scale * cosines(zimg, ztxt)
    own = jnp.diagonal(logits)
    if weight is None:
        return own_cross_entropy(
            own, jax.nn.logsumexp(logits, axis=1), jax.nn.logsumexp(logits, axis=0)
        )
    present = weight > 0
    logits = jnp.where(present[:, None] & present[None, :], logits, MASKED)
    loss = own_cross_entropy(
        own, jax.nn.logsumexp(logits, axis=1), jax.nn.logsumexp(logits, axis=0)
    )
    return jnp.where(present, loss, 0.0)


def own_cross_entropy(
    own: Float[Array, " n"], over_texts: Float[Array, " n"], over_images: Float[Array, " n"]
) -> Float[Array, " n"]:
    """The symmetric cross entropy from each pair's own logit and its two log-sum-exps."""
    return 0.5 * (over_texts + over_images) - own


def cosines(zimg: Float[Array, "n d"], ztxt: Float[Array, "m d"]) -> Float[Array, "n m"]:
    """Inner products of all images with all texts, in float32 at full precision."""
    return jnp.einsum(
        "nd,md->nm",
        zimg.astype(jnp.float32),
        ztxt.astype(jnp.float32),
        precision=jax.lax.Precision.HIGHEST,
    )
