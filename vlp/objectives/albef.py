"""ALBEF: align image and text, then fuse them; with a slow copy of itself that teaches."""

from typing import Any

import jax
from jaxtyping import Array, Key

from vlp.losses import captioning_loss, distilled_language_loss
from vlp.objectives.common.alignment import Aligned, Alignment
from vlp.objectives.common.contract import Context, Losses, Momentum, Objective, Term
from vlp.objectives.common.masking import mask_tokens
from vlp.objectives.common.tokens import share_correct, token_shares


class Albef(Objective):
    """The objective of ALBEF: contrast (ITC), match (ITM) and masked words (MLM), weights 1.

    What is followed from the authors' code and what differs: see `Alignment`. The momentum
    model also guesses the hidden words, with the same weight.

    Args:
        mask_id: the token that hides others.
        queue_size: pairs whose features are kept; a multiple of the global batch size.
        distillation: weight of the momentum model's targets, alpha in the paper; 0 needs no second
            pass of it for MLM.
        ramp: steps over which that weight rises to its value, an epoch in the authors' code.
        momentum_decay: of the average that gives keys and targets.
        momentum_warmup: let that average begin shorter, see `Momentum`.
        mask_probability: share of the words that are hidden.
        negatives: "sampled" or "hardest".
        max_scale, min_scale: limits of the multiplier of the cosines (temperature 0.001 to 0.5).

    References:
        Li et al., 2021, https://arxiv.org/abs/2107.07651;
        https://github.com/salesforce/ALBEF (`models/model_pretrain.py`).
    """

    fields = ("image", "text", "id")

    def __init__(
        self,
        *,
        mask_id: int,
        queue_size: int = 65536,
        distillation: float = 0.4,
        ramp: int = 0,
        momentum_decay: float = 0.995,
        momentum_warmup: bool = False,
        mask_probability: float = 0.15,
        negatives: str = "sampled",
        max_scale: float = 1000.0,
        min_scale: float = 2.0,
    ):
        self.mask_id = mask_id
        self.momentum = Momentum(momentum_decay, momentum_warmup)
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

    def make_carry(self, model: Any, *, global_batch_size: int) -> Any:
        """An empty queue."""
        return self.align.make_carry(model, global_batch_size=global_batch_size)

    def __call__(self, ctx: Context) -> Losses:
        """Contrast and matching, nats a pair, and the hidden words, nats a token."""
        matching_key, masking_key = jax.random.split(ctx.key)
        aligned = self.align(ctx, key=matching_key)
        masked, guessed = self._masked(ctx, aligned, key=masking_key)
        terms, metrics, queue = aligned.losses
        terms = {**terms, "masked": Term(masked)}
        return Losses(terms, {**metrics, "masked_accuracy": guessed}, queue)

    def _masked(self, ctx: Context, aligned: Aligned, *, key: Key[Array, ""]):
        """Losses and accuracies of the hidden words, a token, from text and image."""
        model, batch, alpha = ctx.model, ctx.batch, aligned.alpha
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
        logits = model.predict_tokens(aligned.image, shown)
        loss = captioning_loss(logits, targets, pad_id=pad_id)
        if self.distillation:
            theirs = ctx.momentum.predict_tokens(aligned.slow_image, shown)
            soft = distilled_language_loss(logits, theirs, targets, pad_id=pad_id)
            loss = (1.0 - alpha) * loss + alpha * soft
        share = token_shares(targets, pad_id=pad_id, weight=batch["weight"])
        return share * loss, share * share_correct(logits, targets, pad_id=pad_id)
