"""The likeliest token at every position."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from vlp.generation.contract import Captions
from vlp.generation.loop import write


def greedy(
    model: Any,
    image: Any,
    *,
    length: int | None = None,
    min_length: int = 0,
    prefix: Sequence[int] = (),
) -> Captions:
    """Captions of the likeliest token at every position; of equally likely ones the first.

    The tokens are those of open_clip's `generate(generation_type="top_k", top_k=1)`, except that
    there padding may be chosen, which then ends the caption, and a caption that fills its row gets
    an end token in place of its last word. Its mask of padding, one position too late (see
    `TextTransformer`), changes nothing: no padding stands in front of a word that is written.

    Args:
        model: see `vlp.models.protocols.WritesCaptions`.
        image: `encode_image(...)`.
        length: tokens of a row; the model's `caption_length` if not given. A caption for which
            that is not enough has no end token.
        min_length: tokens in front of the end token, the first and the prefix included.
        prefix: tokens that every caption has behind its first, such as those of "a picture of".

    Returns:
        Ids, the prefix among them, and as scores the mean log-probability of a token (nats) behind
        the prefix.

    Raises:
        ValueError: when the model writes no captions, or lengths do not fit it.
    """
    return write(
        model,
        image,
        lambda logits, _: jnp.argmax(logits, axis=1),
        length=length,
        min_length=min_length,
        prefix=prefix,
    )
