"""Captions written token by token, as BLIP and BLIP-2 learn to."""

from typing import Any

from vlp.objectives.common.contract import Losses, Term
from vlp.objectives.common.micro_batches import MicroBatches
from vlp.objectives.common.tokens import token_shares
from vlp.objectives.common.words import tell


def written(
    model: Any,
    image: Any,
    batch: Any,
    *,
    label_smoothing: float,
    places_at_once: int | None,
    micro: MicroBatches,
) -> Losses:
    """The captions, nats a token of the global batch, with smoothed labels.

    Args:
        model: has `decode`.
        image: what its `encode_image` returned for the batch.
        batch: has text and weight.
        label_smoothing: share of a word's probability that goes to all words alike.
        places_at_once: as `places` in `vlp.objectives.common.words.tell`.
        micro: how many captions are written at a time.
    """
    text, pad_id = batch["text"], model.text.pad_id
    targets = text[:, 1:]

    def told_in(model, rows):
        image, text, targets = rows
        return tell(
            model.decoded(image, None, text),
            targets,
            pad_id=pad_id,
            label_smoothing=label_smoothing,
            places=places_at_once,
            mesh=micro.mesh,
        )

    told = micro(told_in, model, (image, text, targets))
    share = token_shares(targets, pad_id=pad_id, weight=batch["weight"])
    return Losses({"caption": Term(share * told.nats)}, {"caption_accuracy": share * told.right})


def check_ends(model: Any) -> None:
    """Raises ValueError for a model whose captions would end with what nothing is asked of."""
    if model.pad_id == model.end_id:
        raise ValueError(
            "captions must end with a token that is not padding, got pad_id and end_id "
            f"{model.pad_id}; use a tokenizer with two"
        )
