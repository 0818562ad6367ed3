"""Telling a pair from two wrong ones: an image with another's text, and a text with another's."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from vlp.losses import matching_loss
from vlp.objectives.common.micro_batches import AT_ONCE, MicroBatches
from vlp.objectives.common.mining import AMONG, elsewhere, mine, true_matches
from vlp.parallel.exchange import rows_taken
from vlp.settings import check_choice


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
    among: str = "batch",
    micro: MicroBatches = AT_ONCE,
) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    """Losses and accuracies of each pair, its text with a wrong image, and the reverse: their mean.

    All 3 n pairs are fused in one call, or those of some rows at a time. Where a batch has no wrong
    one, its term is 0.

    Args:
        model: has `match`.
        image, caption: what the model's `encode_image` and `encode_text` returned for the batch.
        batch: has text, id and weight.
        to_texts: scaled similarities of each image to all texts, by which wrong ones are chosen.
        to_images: likewise of each text to all images.
        key: of this call.
        choice, floor: as in `vlp.objectives.common.mining.mine`.
        among: "batch" or "device": whose images and texts may be wrong ones. What is chosen on
            other devices is exchanged row by row, see `vlp.parallel.exchange.rows_taken`.
        micro: of how many rows the triples are fused at a time; its mesh is that of the batch.

    Raises:
        ValueError: when `among` is unknown.
    """
    check_choice("negatives_among", among, AMONG)
    text: Int[Array, "n l"] = batch["text"]
    matches = true_matches(text, ids=batch["id"], weight=batch["weight"])
    if among == "device":
        matches = matches | elsewhere(len(text), micro.mesh)
    image_key, text_key = jax.random.split(key)
    shared: dict[str, Any] = dict(matches=matches, choice=choice, floor=floor)
    images, any_image = mine(to_images, key=image_key, **shared)
    texts, any_text = mine(to_texts, key=text_key, **shared)
    where: dict[str, Any] = dict(mesh=micro.mesh, own=among == "device")
    wrong_image = rows_taken(image, images, **where)
    wrong_caption, wrong_text = rows_taken((caption, text), texts, **where)
    three = [(image, caption, text), (wrong_image, caption, text)]
    three.append((image, wrong_caption, wrong_text))

    def matched(model: Any, three: Any) -> Float[Array, "n 3 2"]:
        return model.match(*jax.tree.map(_by_row, *three)).reshape(-1, 3, 2)

    logits = micro(matched, model, three).reshape(-1, 2)
    belongs = jnp.tile(jnp.array([True, False, False]), len(text))
    asked = jnp.stack([jnp.ones_like(any_image), any_image, any_text], axis=1)
    losses = matching_loss(logits, belongs).reshape(-1, 3)
    right = ((logits[:, 1] > logits[:, 0]) == belongs).astype(jnp.float32).reshape(-1, 3)
    loss, accuracy = (jnp.mean(jnp.where(asked, x, 0.0), axis=1) for x in (losses, right))
    return loss, accuracy


def _by_row(*arrays: Array) -> Array:
    """Several `[n, ...]` as one of k n rows, those of one pair beside each other: on its device."""
    return jnp.stack(arrays, axis=1).reshape(-1, *arrays[0].shape[1:])
