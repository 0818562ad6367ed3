"""ALBEF: align image and text, then fuse them; with a slow copy of itself that teaches."""

from typing import Any

import jax
from jaxtyping import Array, Key

from vlp.objectives.common.alignment import Aligned, Alignment
from vlp.objectives.common.contract import Context, Losses, Objective, Term
from vlp.objectives.common.words import Told
from vlp.objectives.masked_words import masked_language
from vlp.settings import handing_on


class Albef(Objective):
    """The objective of ALBEF: contrast (ITC), match (ITM) and masked words (MLM), weights 1.

    What is followed from the authors' code and what differs: see `Alignment`. The momentum
    model also guesses the hidden words, with the same weight.

    Args:
        mask_id: the token that hides others.
        queue_size: pairs whose features are kept; a multiple of the global batch size.
        mask_probability: share of the words that are hidden.
        places_at_once: as `places` in `vlp.objectives.common.words.tell`.
        **settings: of `Alignment`. The ramp is an epoch in the authors' code; a distillation of 0
            needs no second pass of the momentum model for the words.

    References:
        Li et al., 2021, https://arxiv.org/abs/2107.07651;
        https://github.com/salesforce/ALBEF (`models/model_pretrain.py`).
    """

    fields = ("image", "text", "id")

    @handing_on(Alignment, leaving=("floor",))
    def __init__(
        self,
        *,
        mask_id: int,
        queue_size: int = 65536,
        mask_probability: float = 0.15,
        places_at_once: int | None = None,
        **settings: Any,
    ):
        self.masking: dict[str, Any] = dict(
            mask_id=mask_id,
            probability=mask_probability,
            places_at_once=places_at_once,
        )
        self.align = Alignment(queue_size=queue_size, **settings)
        self.masking["micro"] = self.align.micro
        self.momentum = self.align.momentum

    def make_carry(self, model: Any, *, global_batch_size: int) -> Any:
        """An empty queue."""
        return self.align.make_carry(model, global_batch_size=global_batch_size)

    def __call__(self, ctx: Context) -> Losses:
        """Contrast and matching, nats a pair, and the hidden words, nats a token."""
        matching_key, masking_key = jax.random.split(ctx.key)
        aligned = self.align(ctx, key=matching_key)
        told = self._masked(ctx, aligned, key=masking_key)
        masked = told.nats
        if self.align.distillation:
            masked = (1.0 - aligned.alpha) * told.nats + aligned.alpha * told.soft
        terms, metrics, queue = aligned.losses
        terms = {**terms, "masked": Term(masked)}
        return Losses(terms, {**metrics, "masked_accuracy": told.right}, queue)

    def _masked(self, ctx: Context, aligned: Aligned, *, key: Key[Array, ""]) -> Told:
        """The hidden words, from text and image, and what the momentum model says of them."""

        def said(models: Any, images: Any, shown: Any) -> tuple[Any, Any]:
            (model, slow), (image, slow_image) = models, images
            teacher = slow.predicted_tokens(slow_image, shown) if self.align.distillation else None
            return model.predicted_tokens(image, shown), teacher

        return masked_language(
            said,
            (ctx.model, ctx.momentum),
            ctx.batch,
            key=key,
            text_tower=ctx.model.text,
            images=(aligned.image, aligned.slow_image),
            **self.masking,
        )
