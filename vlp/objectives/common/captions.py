"""Captions written token by token, as BLIP and BLIP-2 learn to."""

from typing import Any

from vlp.losses import captioning_loss
from vlp.objectives.common.contract import Losses, Term
from vlp.objectives.common.tokens import share_correct, token_shares


def written(model: Any, image: Any, batch: Any, *, label_smoothing: float) -> Losses:
    """The captions, nats a token of the global batch, with smoothed labels.

    Args:
        model: has `decode`.
        image: what its `encode_image` returned for the batch.
        batch: has text and weight.
        label_smoothing: share of a word's probability that goes to all words alike.
    """
    text, pad_id = batch["text"], model.text.pad_id
    logits, targets = model.decode(image, None, text), text[:, 1:]
    share = token_shares(targets, pad_id=pad_id, weight=batch["weight"])
    loss = share * captioning_loss(logits, targets, pad_id=pad_id, label_smoothing=label_smoothing)
    accuracy = share * share_correct(logits, targets, pad_id=pad_id)
    return Losses({"caption": Term(loss)}, {"caption_accuracy": accuracy})


def check_ends(model: Any) -> None:
    """Raises ValueError for a model whose captions would end with what nothing is asked of."""
    if model.pad_id == model.end_id:
        raise ValueError(
            "captions must end with a token that is not padding, got pad_id and end_id "
            f"{model.pad_id}; use a tokenizer with two"
        )
