"""The feature loss: embeddings are to be a teacher's own."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def feature_loss(
    zimg: Float[Array, "n d"],
    ztxt: Float[Array, "n d"],
    *,
    teacher_zimg: Float[Array, "n e"],
    teacher_ztxt: Float[Array, "n e"],
) -> Float[Array, " n"]:
    """The mean squared difference from the teacher's embedding, of the image and of the text added.

    Of unit-norm embeddings that is `2 (1 - cosine) / d` each.

    Args:
        zimg, ztxt: unit-norm embeddings; row i of all four is pair i.
        teacher_zimg, teacher_ztxt: the teacher's, of the same width; constants.

    Returns:
        Per-pair loss, float32.

    Raises:
        ValueError: when the widths differ.

    References:
        Yang et al., 2024 (CLIP-KD), https://arxiv.org/abs/2307.12732 (feature
        distillation).
    """
    width, own = teacher_zimg.shape[1], zimg.shape[1]
    if width != own:
        raise ValueError(
            f"features must be as wide as the teacher's, {width}, got {own}; set model.embed_dim "
            f"to {width}, whose projection is then the map into the teacher's space, or "
            "feature_weight to 0"
        )
    return _gap(zimg, teacher_zimg) + _gap(ztxt, teacher_ztxt)


def _gap(z: Float[Array, "n d"], target: Float[Array, "n d"]) -> Float[Array, " n"]:
    target = jax.lax.stop_gradient(target)
    return jnp.mean(jnp.square(z.astype(jnp.float32) - target.astype(jnp.float32)), axis=1)
