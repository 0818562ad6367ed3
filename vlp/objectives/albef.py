"""ALBEF: align image and text, then fuse them; with a slow copy of itself as the teacher."""

from typing import Any

import jax

from vlp.losses import captioning_loss, distilled_language_loss
from vlp.objectives.alignment import Alignment
from vlp.objectives.masking import mask_tokens
from vlp.objectives.tokens import share_correct, token_shares


class Albef:
    """The objective of ALBEF: contrast (ITC), match (ITM) and masked words (MLM), weights 1.

    What is followed from the authors' code and what differs: see `Alignment`. The teacher also
    guesses the hidden words, with the same weight.

    Args:
        mask_id: the token that hides others.
        queue_size: pairs whose features are kept; a multiple of the global batch size.
        distillation: weight of the teacher's targets, alpha in the paper; 0 needs no second pass
            of the teacher for MLM.
        ramp: steps over which that weight rises to its value, an epoch in the authors' code.
        mask_probability: share of the words that are hidden.
        negatives: "sampled" or "hardest".
        max_scale, min_scale: limits of the multiplier of the cosines (temperature 0.001 to 0.5).

    References:
        Li et al., 2021, https://arxiv.org/abs/2107.07651;
        https://github.com/salesforce/ALBEF (`models/model_pretrain.py`).
    """

    inputs = ("id",)

    def __init__(
        self,
        *,
        mask_id: int,
        queue_size: int = 65536,
        distillation: float = 0.4,
        ramp: int = 0,
        mask_probability: float = 0.15,
        negatives: str = "sampled",
        max_scale: float = 1000.0,
        min_scale: float = 2.0,
    ):
        self.mask_id = mask_id
        self.distillation = distillation
        self.mask_probability = mask_probability
        self.align = Alignment(
            queue_size=queue_size,
            distillation=distillation,
            ramp=ramp,
            negatives=negatives,
            floor=0.0,
            max_scale=max_scale,
            min_scale=min_scale,
        )
        self.make_carry = self.align.make_carry

    def __call__(self, model: Any, teacher: Any, batch: Any, *, key: Any, carry: Any):
        """Per-pair losses, metrics and the queue with this batch's features."""
        matching_key, masking_key = jax.random.split(key)
        aligned = self.align(model, teacher, batch, key=matching_key, carry=carry)
        masked, guessed = self._masked(
            model,
            teacher,
            aligned.image,
            aligned.slow_image,
            batch,
            alpha=aligned.alpha,
            key=masking_key,
        )
        metrics = aligned.metrics | {
            "masked_loss": masked,  # nats a token
            "masked_accuracy": guessed,
        }
        return aligned.loss + masked, metrics, aligned.carry

    def _masked(self, model, teacher, image, slow_image, batch, *, alpha, key):
        """Losses and accuracies of the hidden words, a token, from text and image."""
        pad_id = model.text.pad_id
        keys = jax.random.split(key, len(batch["text"]))
        shown, targets = mask_tokens(
            batch["text"],
            keys=keys,
            mask_id=self.mask_id,
            pad_id=pad_id,
            vocab_size=model.text.vocab_size,
            probability=self.mask_probability,
        )
        logits = model.predict_tokens(image, shown)
        loss = captioning_loss(logits, targets, pad_id=pad_id)
        if self.distillation:
            theirs = teacher.predict_tokens(slow_image, shown)
            soft = distilled_language_loss(logits, theirs, targets, pad_id=pad_id)
            loss = (1.0 - alpha) * loss + alpha * soft
        share = token_shares(targets, pad_id=pad_id, weight=batch["weight"])
        return share * loss, share * share_correct(logits, targets, pad_id=pad_id)
