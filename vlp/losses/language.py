"""The loss of captions that are predicted token by token."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def captioning_loss(
    logits: Float[Array, "n l v"],
    targets: Int[Array, "n l"],
    *,
    pad_id: int,
    label_smoothing: float = 0.0,
) -> Float[Array, " n"]:
    """Each caption's mean cross entropy over its own tokens; 0 for a caption without any.

    Row by row this is torch's `CrossEntropyLoss(ignore_index=pad_id, label_smoothing=...)`, which
    the authors of BLIP use with 0.1 and open_clip's CoCa with 0, but they divide by the number of
    tokens in the batch: to have that, weigh the captions by their numbers of tokens, as
    `vlp.objectives.Coca` does. The end of text is a token as any other, and padding is none.

    Args:
        logits: of what follows each token, unnormalised.
        targets: what does follow: the captions one place on (`text[:, 1:]`).
        pad_id: where the targets have it, nothing is asked.
        label_smoothing: share of the target's probability that goes to all tokens alike, 0 to 1.

    Returns:
        Nats a token, float32.

    References:
        Yu et al., 2022 (CoCa), https://arxiv.org/abs/2205.01917, equation 3; Li et al., 2022
        (BLIP), https://arxiv.org/abs/2201.12086; Szegedy et al., 2015 (label smoothing),
        https://arxiv.org/abs/1512.00567, section 7.
    """
    losses = word_losses(logits, targets, pad_id=pad_id, label_smoothing=label_smoothing)
    return mean_a_target(losses, targets, pad_id=pad_id)


def word_losses(
    logits: Float[Array, "n l v"],
    targets: Int[Array, "n l"],
    *,
    pad_id: int,
    label_smoothing: float = 0.0,
) -> Float[Array, "n l"]:
    """The cross entropy at each place, nats, float32; 0 where nothing is asked.

    Args:
        logits, targets, pad_id, label_smoothing: as in `captioning_loss`.
    """
    logits = logits.astype(jnp.float32)
    present = target_tokens(targets, pad_id=pad_id)
    places = jnp.where(present, targets, 0)[..., None]  # any id may stand for padding
    own = jnp.take_along_axis(logits, places, axis=2)[..., 0]
    total = jax.nn.logsumexp(logits, axis=2)
    loss = total - own
    if label_smoothing:
        evenly = total - jnp.mean(logits, axis=2)
        loss = (1.0 - label_smoothing) * loss + label_smoothing * evenly
    return jnp.where(present, loss, 0.0)


def mean_a_target(
    values: Float[Array, "n l"], targets: Int[Array, "n l"], *, pad_id: int
) -> Float[Array, " n"]:
    """The mean over each text's targets of what is 0 elsewhere; 0 for a text without targets."""
    count = jnp.sum(target_tokens(targets, pad_id=pad_id), axis=1)
    return jnp.sum(values, axis=1) / jnp.maximum(count, 1).astype(jnp.float32)


def target_tokens(targets: Int[Array, "n l"], *, pad_id: int) -> Bool[Array, "n l"]:
    """Where there is a token to predict."""
    return targets != pad_id
