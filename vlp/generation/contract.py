"""What a model that writes captions offers, and what is written."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from vlp.models.protocols import WritesCaptions, offers


class Captions(NamedTuple):
    """Captions, as ids.

    Attributes:
        ids: the first token, words, the end token if there was room for it, padding.
        scores: log-probability in nats, over the number of tokens written (a power of it, for
            beam search): the first and a prefix are given, the end token counts.
    """

    ids: Int[Array, "n l"]
    scores: Float[Array, " n"]


def check_writes(model: Any) -> None:
    """Raises ValueError when a model writes no captions."""
    if not offers(model, WritesCaptions):
        raise ValueError(
            "only a model with a decoder writes captions, and this one has none; train one "
            "(--config=experiments/emoji.py:model=coca) or load one, such as a CoCa of open_clip"
        )


class Form(NamedTuple):
    """What is settled of captions before they are written.

    Attributes:
        length: tokens of a row, the first and the last included.
        min_length: tokens in front of the end token, at least; the first and the prefix included.
        prefix: tokens behind the first that all captions have.
    """

    length: int
    min_length: int
    prefix: tuple[int, ...]


def form_of(
    model: Any, *, length: int | None = None, min_length: int = 0, prefix: Sequence[int] = ()
) -> Form:
    """The form of a model's captions.

    Args:
        model: see `vlp.models.protocols.WritesCaptions`.
        length: tokens of a row; the model's `caption_length` if not given. A caption for which
            that is not enough has no end token.
        min_length: tokens in front of the end token, the first and the prefix included.
        prefix: tokens that every caption has behind its first, such as those of "a picture of".

    Raises:
        ValueError: when there is no room, or more than the model has positions for, or the prefix
            has tokens that stand in no caption.
    """
    check_writes(model)
    longest = model.caption_length
    if length is not None and not 2 <= length <= longest:
        raise ValueError(
            f"length must be from 2, the first token and one more, to the model's {longest}, "
            f"got {length}"
        )
    length = longest if length is None else length
    if not 0 <= min_length < length:
        raise ValueError(
            f"min_length must be from 0 to {length - 1}, so that the end token has room in "
            f"{length}, got {min_length}"
        )
    if len(prefix) > length - 2:
        raise ValueError(
            f"the prefix must leave room for a token behind it, {length - 2} tokens at most in "
            f"rows of {length}, got {len(prefix)}; give a shorter one"
        )
    if {model.end_id, model.pad_id} & set(prefix):
        raise ValueError(
            f"the prefix must hold neither the end token {model.end_id} nor padding "
            f"{model.pad_id}, got {list(prefix)}"
        )
    return Form(length, min_length, tuple(int(token) for token in prefix))


def possible(
    model: WritesCaptions, values: Float[Array, "n v"], position: Int[Array, ""], form: Form
) -> Float[Array, "n v"]:
    """Logits or log-probabilities, with minus infinity for what must not follow.

    That is padding, which no caption has in front of its end, and the end token where the caption
    would be too short. A token of the prefix is certain: 0, and minus infinity for all others.

    Args:
        model: whose tokens.
        values: of what follows the token at `position`.
        position: from 0.
        form: of the captions.
    """
    ids = jnp.arange(values.shape[1])
    too_early: Bool[Array, " v"] = (ids == model.end_id) & (position + 1 < form.min_length)
    padding = (ids == model.pad_id) & (ids != model.end_id)
    values = jnp.where((too_early | padding)[None], -jnp.inf, values)
    if not form.prefix:
        return values
    given = jnp.asarray(form.prefix)[jnp.minimum(position, len(form.prefix) - 1)]
    certain = jnp.where(ids == given, 0.0, -jnp.inf)[None]
    return jnp.where(position < len(form.prefix), certain, values)
