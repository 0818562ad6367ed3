"""BLIP-2's first stage: queries learn to draw from a frozen image what the text speaks of."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from vlp.losses import softmax_loss
from vlp.losses.similarity import max_over_queries
from vlp.models.protocols import Decodes, Matches, offers
from vlp.objectives.common.captions import check_ends, written
from vlp.objectives.common.contract import Context, Losses, Objective, Term
from vlp.objectives.common.encode import clamped_scale, compute_dtype, encode_all, top1
from vlp.objectives.common.micro_batches import MicroBatches
from vlp.objectives.common.triples import match_triples
from vlp.parallel.contrastive import OPERANDS, as_operands
from vlp.settings import check_choice


class Blip2(Objective):
    """The objective of BLIP-2's first stage: contrast (ITC), matching (ITM) and captions (ITG).

    ITC compares a text with the nearest query of an image, with smoothed labels, in the batch. ITM
    tells each pair from its image with a wrong text and its text with a wrong image, which are
    drawn by the same similarities. ITG writes the caption. The weights are 1.

    Followed from the authors' code where the paper is silent: labels of contrast and captions are
    smoothed by 0.1; the temperature begins at 0.07 and is learned; the logits of a match are the
    mean of the queries' own; the mean of ITG is over all tokens of the batch. Different: negatives
    never have the sample or the caption of the true match; the gradient of the contrast also
    reaches what other devices encoded; the multiplier of the cosines has limits.

    Args:
        label_smoothing: of contrast and captions.
        negatives: "sampled" or "hardest".
        floor: added to the probabilities of negatives; the authors' first code had 1e-4.
        negatives_among: "batch", or "device": of each device's own share of it alone.
        max_scale, min_scale: limits of the multiplier of the cosines.
        operands: as in `vlp.parallel.contrastive.contrastive_loss`.
        places_at_once: as `places` in `vlp.objectives.common.words.tell`.
        micro_batch_size: pairs that the model sees at a time (GradCache), see `MicroBatches`; None
            for all at once.
        mesh: over which the batch is split.

    References:
        Li et al., 2023, https://arxiv.org/abs/2301.12597, section 3.2;
        https://github.com/salesforce/LAVIS (`models/blip2_models/blip2_qformer.py`, `Qformer.py`).
    """

    fields = ("image", "text", "id")

    def __init__(
        self,
        *,
        label_smoothing: float = 0.1,
        negatives: str = "sampled",
        floor: float = 0.0,
        negatives_among: str = "batch",
        max_scale: float = 1000.0,
        min_scale: float = 2.0,
        operands: str = "model",
        places_at_once: int | None = None,
        micro_batch_size: int | None = None,
        mesh: Any = None,
    ):
        check_choice("operands", operands, OPERANDS)
        self.operands = operands
        self.micro = MicroBatches(micro_batch_size, mesh)
        self.writing: dict[str, Any] = dict(
            label_smoothing=label_smoothing, places_at_once=places_at_once, micro=self.micro
        )
        self.label_smoothing = label_smoothing
        self.mining: dict[str, Any] = dict(
            choice=negatives, floor=floor, among=negatives_among, micro=self.micro
        )
        self.limits = dict(max_scale=max_scale, min_scale=min_scale)

    def __call__(self, ctx: Context) -> Losses:
        """Contrast and matching, nats a pair, and captions, nats a token.

        Raises:
            ValueError: when the model cannot do all three.
        """
        model, batch = ctx.model, ctx.batch
        _check(model)
        weight, smoothing = batch["weight"], self.label_smoothing
        image, caption = encode_all(model, batch, micro=self.micro)
        scale = clamped_scale(model.log_scale[...], **self.limits)
        zimg, ztxt = as_operands(
            (image.embedding, caption.embedding),
            operands=self.operands,
            dtype=compute_dtype(model),
        )
        contrastive = softmax_loss(
            zimg,
            ztxt,
            scale=scale,
            weight=weight,
            similarity="max_over_queries",
            positives=smoothed(weight, by=smoothing),
        )
        cosines = jax.lax.stop_gradient(max_over_queries(zimg, ztxt))
        logits = scale * cosines
        matching, matched = match_triples(
            model, image, caption, batch, to_texts=logits, to_images=logits.T, key=ctx.key,
            **self.mining,
        )  # fmt: skip
        words = written(model, image, batch, **self.writing)
        terms = {"contrastive": Term(contrastive), "matching": Term(matching), **words.terms}
        metrics = {"matching_accuracy": matched, "scale": scale, **top1(cosines, weight=weight)}
        return Losses(terms, metrics | dict(words.metrics))


def smoothed(weight: Float[Array, " n"], *, by: float) -> Float[Array, "n n"]:
    """How much each text belongs to each image: its own, but for a share of all that are there."""
    present = (weight > 0).astype(jnp.float32)
    share = present / jnp.maximum(jnp.sum(present), 1)
    return (1 - by) * jnp.eye(len(weight)) + by * share[None]


def _check(model: Any) -> None:
    if not offers(model, Matches) or not offers(model, Decodes):
        raise ValueError(
            f"BLIP-2 needs a model that matches and writes, got {type(model).__name__}, which does "
            'not; give model.kind="blip2"'
        )
    check_ends(model)
