"""What a model that writes says behind every token of a text, the last included."""

import jax.numpy as jnp


def following(model, image, caption, text):
    """The logits `[n, l, v]`: `decode` says nothing of the last token, so there is one more."""
    if caption is not None:
        caption = caption._replace(tokens=jnp.pad(caption.tokens, ((0, 0), (0, 1), (0, 0))))
    return model.decode(image, caption, jnp.pad(jnp.asarray(text), ((0, 0), (0, 1))))
