"""What ALBEF and BLIP share: contrast with the keys of the momentum model, and matching."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from vlp.losses import momentum_contrastive_loss
from vlp.losses.similarity import cosines
from vlp.objectives.common.contract import Context, Losses, Momentum, Term
from vlp.objectives.common.encode import clamped_scale, compute_dtype, encode_all, in_batch_accuracy
from vlp.objectives.common.micro_batches import MicroBatches
from vlp.objectives.common.queue import empty_queue, enqueue, features
from vlp.objectives.common.triples import match_triples
from vlp.parallel.contrastive import OPERANDS, as_operands
from vlp.settings import check_choice


class Aligned(NamedTuple):
    """A batch, encoded and compared.

    Attributes:
        image, slow_image: as the model and its momentum encode it.
        losses: contrast and matching, nats a pair, and the queue with this batch's features.
        alpha: the weight of the momentum model's targets at this step.
    """

    image: Any
    slow_image: Any
    losses: Losses
    alpha: Any


class Alignment:
    """Image-text contrast (ITC) by the momentum's keys and a queue, and matching (ITM), weights 1.

    Followed from the authors' code where the papers are silent or differ: the keys of the contrast
    are the momentum model's features of this batch, then of the queue; negatives are drawn from
    this batch by the softmax of the model's similarities to these keys; the weight of the momentum
    model's targets rises from 0. The authors move it at the start of a step, the train step here at
    the end of the one before: the features are the same. Different here: the
    negatives come from the global batch, not from one device's share of it, and never have the
    sample or the caption of the true match; the queue begins empty, not with random vectors.

    Args:
        queue_size: pairs whose features are kept; a multiple of the global batch size.
        distillation: weight of the momentum model's targets, alpha in the papers.
        ramp: steps over which that weight rises to its value.
        momentum_decay: of the average that gives keys and targets.
        momentum_warmup: let that average begin shorter, see `Momentum`.
        negatives: "sampled" or "hardest".
        floor: added to the probabilities of negatives.
        negatives_among: "batch" takes them from the global batch, "device" from each device's own
            share of it, as the authors do.
        max_scale, min_scale: limits of the multiplier of the cosines (temperature 0.001 to 0.5).
        operands: as in `vlp.parallel.contrastive.contrastive_loss`, of keys and queue too; these
            are kept in float32.
        micro_batch_size: pairs that models see at a time (GradCache), see `MicroBatches`; None for
            all at once.
        mesh: over which the batch is split.

    References:
        Li et al., 2021 (ALBEF), https://arxiv.org/abs/2107.07651; Li et al., 2022 (BLIP),
        https://arxiv.org/abs/2201.12086.
    """

    def __init__(
        self,
        *,
        queue_size: int,
        distillation: float = 0.4,
        ramp: int = 0,
        momentum_decay: float = 0.995,
        momentum_warmup: bool = False,
        negatives: str = "sampled",
        floor: float = 0.0,
        negatives_among: str = "batch",
        max_scale: float = 1000.0,
        min_scale: float = 2.0,
        operands: str = "model",
        micro_batch_size: int | None = None,
        mesh: Any = None,
    ):
        check_choice("operands", operands, OPERANDS)
        self.operands = operands
        self.micro = MicroBatches(micro_batch_size, mesh)
        self.queue_size = queue_size
        self.distillation, self.ramp = distillation, ramp
        self.momentum = Momentum(momentum_decay, momentum_warmup)
        self.mining: dict[str, Any] = dict(
            choice=negatives, floor=floor, among=negatives_among, micro=self.micro
        )
        self.limits = dict(max_scale=max_scale, min_scale=min_scale)

    def make_carry(self, model: Any, *, global_batch_size: int) -> dict[str, Any]:
        """An empty queue."""
        return empty_queue(
            size=self.queue_size,
            global_batch_size=global_batch_size,
            embed_dim=model.kwargs["embed_dim"],
        )

    def __call__(self, ctx: Context, *, key: Key[Array, ""]) -> Aligned:
        """Encodes a batch, tells its pairs apart and takes it into the queue.

        Args:
            ctx: its key is not used.
            key: of this call.
        """
        model, batch = ctx.model, ctx.batch
        weight = batch["weight"]
        alpha = self._alpha(ctx.step)
        scale = clamped_scale(model.log_scale[...], **self.limits)
        image, caption = encode_all(model, batch, micro=self.micro)
        slow = encode_all(ctx.momentum, batch, micro=self.micro)
        slow_image, slow_caption = jax.lax.stop_gradient(slow)
        own = dict(zimg=slow_image.embedding, ztxt=slow_caption.embedding, present=weight > 0)
        older_img, older_txt, older = features(ctx.carry)
        zimg, ztxt, slow_zimg, slow_ztxt, older_img, older_txt = as_operands(
            (image.embedding, caption.embedding, own["zimg"], own["ztxt"], older_img, older_txt),
            operands=self.operands,
            dtype=compute_dtype(model),
        )
        contrastive = momentum_contrastive_loss(
            zimg,
            ztxt,
            keys_img=jnp.concatenate([slow_zimg, older_img]),
            keys_txt=jnp.concatenate([slow_ztxt, older_txt]),
            present=jnp.concatenate([own["present"], older]),
            scale=scale,
            distillation=alpha,
        )
        matching, matched = match_triples(
            model,
            image,
            caption,
            batch,
            to_texts=scale * cosines(zimg, slow_ztxt),
            to_images=scale * cosines(ztxt, slow_zimg),
            key=key,
            **self.mining,
        )
        metrics = {
            "matching_accuracy": matched,
            "distillation": alpha,
            "scale": scale,
            **in_batch_accuracy(image.embedding, caption.embedding, weight=weight),
        }
        terms = {"contrastive": Term(contrastive), "matching": Term(matching)}
        losses = Losses(terms, metrics, enqueue(ctx.carry, **own))
        return Aligned(image, slow_image, losses, alpha)

    def _alpha(self, step):
        step = jnp.asarray(step, jnp.float32)
        ramp = jnp.minimum(1.0, step / self.ramp) if self.ramp else 1.0
        return self.distillation * ramp
