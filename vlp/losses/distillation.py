"""Learning from a teacher's probabilities."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from vlp.losses.language import mean_a_target, target_tokens


def soft_cross_entropy(
    logits: Float[Array, "*batch k"], targets: Float[Array, "*batch k"]
) -> Float[Array, "*batch"]:
    """The cross entropy with targets that are probabilities, nats, float32.

    Its gradients are those of the Kullback-Leibler divergence from the targets, which is less by
    their entropy.

    Args:
        logits: unnormalised.
        targets: at least 0, with the sum 1 over the last axis; constants.
    """
    targets = jax.lax.stop_gradient(targets)
    return -jnp.sum(targets * jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1), axis=-1)


def distilled_language_loss(
    logits: Float[Array, "n l v"],
    teacher_logits: Float[Array, "n l v"],
    targets: Int[Array, "n l"],
    *,
    pad_id: int,
) -> Float[Array, " n"]:
    """Each text's mean cross entropy with a teacher's predictions, where there is a target.

    Args:
        logits: what is predicted at each place, unnormalised.
        teacher_logits: the teacher's; constants.
        targets: the true tokens; `pad_id` where nothing is asked.

    Returns:
        Nats a token, float32; 0 for a text without targets.

    References:
        Li et al., 2021 (ALBEF), https://arxiv.org/abs/2107.07651, equation 7, whose divergence has
        the same gradients.
    """
    losses = distilled_word_losses(logits, teacher_logits, targets, pad_id=pad_id)
    return mean_a_target(losses, targets, pad_id=pad_id)


def distilled_word_losses(
    logits: Float[Array, "n l v"],
    teacher_logits: Float[Array, "n l v"],
    targets: Int[Array, "n l"],
    *,
    pad_id: int,
) -> Float[Array, "n l"]:
    """The same at each place, 0 where nothing is asked."""
    loss = soft_cross_entropy(logits, jax.nn.softmax(teacher_logits.astype(jnp.float32), axis=-1))
    return jnp.where(target_tokens(targets, pad_id=pad_id), loss, 0.0)
