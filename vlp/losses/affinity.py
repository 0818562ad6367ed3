"""The affinity loss: a batch's images and texts are to be as alike as a teacher finds them."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from vlp.losses.distillation import soft_cross_entropy
from vlp.losses.ring import AxisName, everyone, present_pairs
from vlp.losses.similarity import MASKED, cosines

Scale = Float[Array, ""] | float


def affinity_loss(
    zimg: Float[Array, "n d"],
    ztxt: Float[Array, "n d"],
    *,
    teacher_zimg: Float[Array, "n e"],
    teacher_ztxt: Float[Array, "n e"],
    scale: Scale,
    teacher_scale: Scale,
    weight: Float[Array, " n"] | None = None,
    axis_name: AxisName | None = None,
) -> Float[Array, " n"]:
    """The mean of each pair's two cross entropies with a teacher's softmax: its image among all
    texts, its text among all images.

    The value is the cross entropy, as in open_clip. The papers have the Kullback-Leibler divergence
    from the teacher, which is less by the teacher's entropy and has the same gradients.

    Args:
        zimg, ztxt: unit-norm embeddings; row i of all four is pair i.
        teacher_zimg, teacher_ztxt: the teacher's, of a width of their own; constants.
        scale, teacher_scale: multipliers of the cosines (not their logarithms); the teacher's is a
            constant.
        weight: pairs of weight 0 are no candidates for others and have loss 0; other values change
            nothing here, for the caller takes the weighted mean.
        axis_name: inside `jax.shard_map`, the axes over which the pairs are spread: each device has
            the rows of its own images and texts, `[n, N]`, among the gathered embeddings of all.

    Returns:
        Per-pair loss in nats, float32.

    References:
        Vasu et al., 2024 (MobileCLIP), https://arxiv.org/abs/2311.17049, section 3.2; Yang et al.,
        2024 (CLIP-KD), https://arxiv.org/abs/2307.12732 (contrastive relational distillation); Wu
        et al., 2023 (TinyCLIP), https://arxiv.org/abs/2309.12314 (affinity mimicking).
    """
    present = present_pairs(zimg, weight)
    candidates = everyone(present, axis_name)[None, :]
    teacher_zimg, teacher_ztxt, teacher_scale = jax.lax.stop_gradient(
        (teacher_zimg, teacher_ztxt, jnp.asarray(teacher_scale, jnp.float32))
    )

    def rows(z, keys, scale):
        return jnp.where(candidates, scale * cosines(z, everyone(keys, axis_name)), MASKED)

    def one_way(z, keys, teacher_z, teacher_keys):
        targets = jax.nn.softmax(rows(teacher_z, teacher_keys, teacher_scale), axis=1)
        return soft_cross_entropy(rows(z, keys, scale), targets)

    to_texts = one_way(zimg, ztxt, teacher_zimg, teacher_ztxt)
    to_images = one_way(ztxt, zimg, teacher_ztxt, teacher_zimg)
    return jnp.where(present, 0.5 * (to_texts + to_images), 0.0)
