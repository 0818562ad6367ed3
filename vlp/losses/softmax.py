"""The symmetric softmax loss of CLIP (InfoNCE)."""

from typing import TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from vlp.losses.distillation import soft_cross_entropy
from vlp.losses.similarity import MASKED, Embeddings, Similarity, mean_of, similarities

# Which texts belong to which images: a group of each pair, whose equals belong together (`[n]`); or
# rows images and columns texts.
Positives: TypeAlias = Int[Array, " n"] | Bool[Array, "n n"] | Float[Array, "n n"]


def softmax_loss(
    zimg: Embeddings,
    ztxt: Embeddings,
    *,
    scale: Float[Array, ""] | float,
    weight: Float[Array, " n"] | None = None,
    similarity: Similarity = "dot",
    positives: Positives | None = None,
) -> Float[Array, " n"]:
    """The mean of each pair's two cross entropies: its text among all texts, its image among all.

    With several positives each of the two is the mean over them of the negative log-probability
    (the sum is outside the logarithm), weighted where they are numbers; 0 where there is none.

    Args:
        zimg, ztxt: unit-norm embeddings as the similarity takes them; row i of both is pair i.
        scale: multiplier of the similarities (not its logarithm).
        weight: pairs of weight 0 are no candidates for others and have loss 0; other values change
            nothing here, for the caller takes the weighted mean.
        similarity: a name in `vlp.losses.similarity.SIMILARITIES` or such a function; where it
            gives two matrices, each direction takes its own.
        positives: groups, or how much each text belongs to each image, at least 0; each pair by
            itself, if not given.

    Returns:
        Per-pair loss in nats, float32.

    References:
        Radford et al., 2021, https://arxiv.org/abs/2103.00020, figure 3; van den Oord et al., 2018,
        https://arxiv.org/abs/1807.03748. Several positives: Yang et al., 2022 (UniCL),
        https://arxiv.org/abs/2204.03610; Khosla et al., 2020, https://arxiv.org/abs/2004.11362,
        equation 2.

    Example:
        >>> z = jnp.eye(4)
        >>> print(softmax_loss(z, z, scale=0.0))  # log 4
        [1.3862944 1.3862944 1.3862944 1.3862944]
    """
    ways = tuple(scale * x for x in similarities(similarity, zimg, ztxt))
    own = mean_of(tuple(jnp.diagonal(x) for x in ways))
    pairs = None if positives is None else positive_pairs(positives).astype(jnp.float32)
    if weight is not None:
        present = weight > 0
        both = present[:, None] & present[None, :]
        ways = tuple(jnp.where(both, x, MASKED) for x in ways)
        pairs = None if pairs is None else jnp.where(both, pairs, 0.0)
    to_texts, to_images = ways[0], ways[-1]
    if pairs is None:
        loss = own_cross_entropy(
            own, jax.nn.logsumexp(to_texts, axis=1), jax.nn.logsumexp(to_images, axis=0)
        )
    else:
        over_texts = soft_cross_entropy(to_texts, _shares(pairs))
        over_images = soft_cross_entropy(to_images.T, _shares(pairs.T))
        loss = 0.5 * (over_texts + over_images)
    return loss if weight is None else jnp.where(present, loss, 0.0)


def own_cross_entropy(
    own: Float[Array, " n"], over_texts: Float[Array, " n"], over_images: Float[Array, " n"]
) -> Float[Array, " n"]:
    """The symmetric cross entropy from each pair's own logit and its two log-sum-exps."""
    return 0.5 * (over_texts + over_images) - own


def positive_pairs(positives: Positives) -> Bool[Array, "n n"] | Float[Array, "n n"]:
    """Groups as a matrix, True where they are equal; a matrix as it is."""
    return positives[:, None] == positives[None, :] if positives.ndim == 1 else positives


def _shares(pairs: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """Rows divided by their sums; those of zeros stay."""
    total = jnp.sum(pairs, axis=1, keepdims=True)
    return pairs / jnp.where(total > 0, total, 1.0)
