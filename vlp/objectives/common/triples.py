"""Telling a pair from two wrong ones: an image with another's text, and a text with another's."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from vlp.losses import matching_loss
from vlp.objectives.common.mining import mine, taken, true_matches


def match_triples(
    model: Any,
    image: Any,
    caption: Any,
    batch: Any,
    *,
    to_texts: Float[Array, "n n"],
    to_images: Float[Array, "n n"],
    key: Key[Array, ""],
    choice: str = "sampled",
    floor: float = 0.0,
) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    """Losses and accuracies of each pair, its text with a wrong image, and the reverse: their mean.

    All 3 n pairs are fused in one call. Where a batch has no wrong one, its term is 0.

    Args:
        model: has `match`.
        image, caption: what the model's `encode_image` and `encode_text` returned for the batch.
        batch: has text, id and weight.
        to_texts: scaled similarities of each image to all texts, by which wrong ones are chosen.
        to_images: likewise of each text to all images.
        key: of this call.
        choice, floor: as in `vlp.objectives.common.mining.mine`.
    """
    text: Int[Array, "n l"] = batch["text"]
    matches = true_matches(text, ids=batch["id"], weight=batch["weight"])
    image_key, text_key = jax.random.split(key)
    shared: dict[str, Any] = dict(matches=matches, choice=choice, floor=floor)
    images, any_image = mine(to_images, key=image_key, **shared)
    texts, any_text = mine(to_texts, key=text_key, **shared)
    three = [(image, caption, text), (taken(image, images), caption, text)]
    three.append((image, taken(caption, texts), jnp.take(text, texts, axis=0)))
    logits = model.match(*jax.tree.map(lambda *x: jnp.concatenate(x), *three))
    belongs = jnp.repeat(jnp.array([True, False, False]), len(text))
    asked = jnp.stack([jnp.ones_like(any_image), any_image, any_text])
    losses = matching_loss(logits, belongs).reshape(3, -1)
    right = ((logits[:, 1] > logits[:, 0]) == belongs).astype(jnp.float32).reshape(3, -1)
    loss, accuracy = (jnp.mean(jnp.where(asked, x, 0.0), axis=0) for x in (losses, right))
    return loss, accuracy
