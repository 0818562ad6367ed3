"""The likeliest token at every position."""

from typing import Any

import jax.numpy as jnp

from vlp.generation.contract import Captions, form_of
from vlp.generation.loop import write
from vlp.settings import handing_on


@handing_on(form_of)
def greedy(model: Any, image: Any, **form: Any) -> Captions:
    """Captions of the likeliest token at every position; of equally likely ones the first.

    The tokens are those of open_clip's `generate(generation_type="top_k", top_k=1)`, except that
    there padding may be chosen, which then ends the caption, and a caption that fills its row gets
    an end token in place of its last word. Its mask of padding, one position too late (see
    `TextTransformer`), changes nothing: no padding stands in front of a word that is written.

    Args:
        model: see `vlp.models.protocols.WritesCaptions`.
        image: `encode_image(...)`.
        **form: see `form_of`.

    Returns:
        Ids, the prefix among them, and as scores the mean log-probability of a token (nats) behind
        the prefix.

    Raises:
        ValueError: when the model writes no captions, or lengths do not fit it.
    """
    return write(model, image, lambda logits, _: jnp.argmax(logits, axis=1), **form)
