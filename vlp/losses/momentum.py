"""The contrastive loss against a teacher's features and a queue of older ones."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from vlp.losses.distillation import soft_cross_entropy
from vlp.losses.similarity import MASKED, cosines


def momentum_contrastive_loss(
    zimg: Float[Array, "n d"],
    ztxt: Float[Array, "n d"],
    *,
    keys_img: Float[Array, "m d"],
    keys_txt: Float[Array, "m d"],
    present: Bool[Array, " m"],
    scale: Float[Array, ""] | float,
    distillation: Float[Array, ""] | float = 0.0,
) -> Float[Array, " n"]:
    """The mean of each pair's two cross entropies among `m` keys, with a teacher's soft targets.

    The target of image i is text key i with probability `1 - distillation`; the rest is spread as
    the teacher would: by the softmax of its own image i's similarities to all text keys. Texts
    likewise. The value is the cross entropy with these targets, as in the authors' code. The
    paper's equation 6 has the Kullback-Leibler divergence from the teacher in place of its part,
    which is less by `distillation` times the teacher's entropy and has the same gradients.

    Args:
        zimg, ztxt: unit-norm embeddings; row i of both is pair i.
        keys_img, keys_txt: a teacher's unit-norm embeddings, constants: of these n pairs in the
            same order, then of others. `m` is at least `n`.
        present: which keys may be looked at.
        scale: multiplier of the cosine similarities, of the teacher's too.
        distillation: weight of the teacher's targets, 0 to 1.

    Returns:
        Per-pair loss in nats, float32. A pair whose own key is not present has a huge one: give
        it weight 0.

    References:
        Li et al., 2021 (ALBEF), https://arxiv.org/abs/2107.07651, equations 1, 2 and 6; He et al.,
        2020 (MoCo), https://arxiv.org/abs/1911.05722 (keys and queue).
    """
    n = zimg.shape[0]
    keys_img, keys_txt = jax.lax.stop_gradient((keys_img, keys_txt))
    constant = jax.lax.stop_gradient(jnp.asarray(scale, jnp.float32))

    def one_way(z, own, keys):
        logits = jnp.where(present[None], scale * cosines(z, keys), MASKED)
        targets = (1.0 - distillation) * jnp.eye(n, keys.shape[0], dtype=jnp.float32)
        theirs = jnp.where(present[None], constant * cosines(own[:n], keys), MASKED)
        targets = targets + distillation * jax.nn.softmax(theirs, axis=1)
        return soft_cross_entropy(logits, targets)

    return 0.5 * (one_way(zimg, keys_img, keys_txt) + one_way(ztxt, keys_txt, keys_img))
