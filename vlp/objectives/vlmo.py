"""VLMo: one transformer aligns images and texts, matches them, and tells hidden words."""

from typing import Any

import jax

from vlp.losses.similarity import cosines
from vlp.models.vlmo import Vlmo as Model
from vlp.objectives.common.contract import Context, Losses, Objective, Term
from vlp.objectives.common.encode import clamped_scale, compute_dtype, encode_all, in_batch_accuracy
from vlp.objectives.common.micro_batches import MicroBatches
from vlp.objectives.common.triples import match_triples
from vlp.objectives.masked_words import masked_language
from vlp.parallel.contrastive import contrastive_loss
from vlp.settings import handing_on


class Vlmo(Objective):
    """The objective of VLMo's third stage: contrast (ITC), match (ITM) and masked words (MLM).

    Followed from the authors' code where the paper is silent: besides the contrast of images and
    texts that went through their own experts there is a second one of the same tokens by way of
    the upper blocks' expert for pairs, with projections and a scale of its own, and the loss is
    the mean of both; negatives are drawn by the softmax of the first one's logits; the masked
    words weigh a quarter. Neither queue nor momentum.

    Different here: negatives never have the sample or the caption of the true match; gradients
    flow to the candidates of other devices too (in the authors' code these are constants); words
    are masked token by token, not whole; the scales are bounded, as the paper does not say and
    the code, which has the line commented out, does not do.

    Args:
        mask_id: the token that hides others.
        mask_probability: share of the tokens that are hidden.
        masked_weight: of the loss of masked words.
        pair_contrast: weight of the second contrast, that of the first being 1 less it; 0 leaves
            the upper blocks' second pass out.
        negatives: "sampled" or "hardest".
        negatives_among: "batch", or "device": of each device's own share of it alone.
        max_scale: upper limit of the learned multipliers of the cosines.
        places_at_once: as `places` in `vlp.objectives.common.words.tell`.
        micro_batch_size: pairs that the model sees at a time (GradCache), see `MicroBatches`; None
            for all at once.
        **spread: of `vlp.parallel.contrastive.contrastive_loss`.

    Raises:
        ValueError: when `pair_contrast` is no share.

    References:
        Bao et al., 2022, https://arxiv.org/abs/2111.02358, section 2.3;
        https://github.com/microsoft/unilm/tree/master/vlmo (`objectives.py`).
    """

    fields = ("image", "text", "id")

    @handing_on(contrastive_loss)
    def __init__(
        self,
        *,
        mask_id: int,
        mask_probability: float = 0.15,
        masked_weight: float = 0.25,
        pair_contrast: float = 0.5,
        negatives: str = "sampled",
        negatives_among: str = "batch",
        max_scale: float = 100.0,
        places_at_once: int | None = None,
        micro_batch_size: int | None = None,
        **spread: Any,
    ):
        if not 0 <= pair_contrast <= 1:
            raise ValueError(
                f"pair_contrast must be from 0 to 1, got {pair_contrast}; the authors' is 0.5"
            )
        self.loss = contrastive_loss("softmax", **spread)
        self.micro = MicroBatches(micro_batch_size, spread.get("mesh"))
        self.masking: dict[str, Any] = dict(
            mask_id=mask_id,
            probability=mask_probability,
            places_at_once=places_at_once,
            micro=self.micro,
        )
        self.masked_weight, self.pair_contrast = masked_weight, pair_contrast
        self.mining: dict[str, Any] = dict(
            choice=negatives, among=negatives_among, micro=self.micro
        )
        self.max_scale = max_scale

    def __call__(self, ctx: Context) -> Losses:
        """Contrast and matching, nats a pair, and the hidden words, nats a token.

        Raises:
            ValueError: when the model is no such transformer.
        """
        model, batch = ctx.model, ctx.batch
        _check(model)
        image, caption, contrastive, metrics = self._contrast(model, batch)
        zimg, ztxt = image.embedding, caption.embedding
        matching_key, masking_key = jax.random.split(ctx.key)
        matching, matched = match_triples(
            model,
            image,
            caption,
            batch,
            to_texts=metrics["scale"] * cosines(zimg, ztxt),
            to_images=metrics["scale"] * cosines(ztxt, zimg),
            key=matching_key,
            **self.mining,
        )
        masked = masked_language(
            lambda model, image, shown: (model.predicted_tokens(image, shown), None),
            model,
            batch,
            key=masking_key,
            text_tower=model.text,
            images=image,
            **self.masking,
        )
        metrics |= {
            "matching_accuracy": matched,
            "masked_accuracy": masked.right,
            **in_batch_accuracy(zimg, ztxt, weight=batch["weight"]),
        }
        terms = {
            "contrastive": Term(contrastive),
            "matching": Term(matching),
            "masked": Term(masked.nats, self.masked_weight),
        }
        return Losses(terms, metrics)

    def _contrast(self, model, batch):
        """Encoded images and texts, the loss of both contrasts, and their metrics."""
        shared = dict(weight=batch["weight"], dtype=compute_dtype(model))
        scale = clamped_scale(model.log_scale[...], max_scale=self.max_scale)
        if not self.pair_contrast:
            image, caption = encode_all(model, batch, micro=self.micro)
            own = self.loss(image.embedding, caption.embedding, scale=scale, **shared)
            return image, caption, own, {"scale": scale}
        rows = {name: batch[name] for name in ("image", "text")}
        (image, pair_image), (caption, pair_text) = self.micro(_branches, model, rows)
        own = self.loss(image.embedding, caption.embedding, scale=scale, **shared)
        pair_scale = clamped_scale(model.pair_log_scale[...], max_scale=self.max_scale)
        pair = self.loss(pair_image, pair_text, scale=pair_scale, **shared)
        both = (1.0 - self.pair_contrast) * own + self.pair_contrast * pair
        metrics = {"scale": scale, "pair_scale": pair_scale, "pair_contrastive_loss": pair}
        return image, caption, both, metrics


def _branches(model: Any, rows: Any) -> tuple[Any, Any]:
    return model.branches("image", rows["image"]), model.branches("text", rows["text"])


def _check(model: Any) -> None:
    if not isinstance(model, Model):
        raise ValueError(
            "VLMo needs a transformer that images and texts share, got "
            f"{type(model).__name__}; give model.multiway"
        )
