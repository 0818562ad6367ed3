"""CLIP: each image finds its caption among all captions, and each caption its image."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from vlp.losses.captions import mean_over_captions
from vlp.objectives.common.contract import Context, Losses, Objective, Term
from vlp.objectives.common.encode import (
    clamped_scale,
    compute_dtype,
    encode_pairs,
    in_batch_accuracy,
)
from vlp.objectives.common.micro_batches import MicroBatches
from vlp.objectives.common.several import present_captions
from vlp.parallel.contrastive import contrastive_loss
from vlp.settings import handing_on


class Clip(Objective):
    """The objective of CLIP, and with `patch_drop` that of FLIP.

    Of several captions a row all belong to the image, see `vlp.losses.captions`; the accuracies are
    of the first ones.

    Args:
        micro_batch_size: pairs encoded at a time (GradCache), or None for all at once.
        patch_drop: share of the patches left out of each image while training.
        max_scale: upper limit of the learned multiplier of the cosines.
        **spread: over which mesh the batch is split and how the loss is, see
            `vlp.parallel.contrastive.contrastive_loss`.

    Raises:
        ValueError: when the parts of the mesh cannot share micro-batches, or as `contrastive_loss`.

    References:
        Radford et al., 2021, https://arxiv.org/abs/2103.00020; Li et al., 2022 (FLIP),
        https://arxiv.org/abs/2212.00794; Gao et al., 2021 (GradCache),
        https://arxiv.org/abs/2101.06983.
    """

    kind = "softmax"
    embeddings_alone = True
    several_captions = True

    @handing_on(contrastive_loss)
    def __init__(
        self,
        *,
        micro_batch_size: int | None = None,
        patch_drop: float = 0.0,
        max_scale: float = 100.0,
        **spread: Any,
    ):
        self.loss = contrastive_loss(self.kind, **spread)
        self.max_scale, self.mesh = max_scale, spread.get("mesh")
        self.encoding: dict[str, Any] = dict(
            micro=MicroBatches(micro_batch_size, self.mesh), patch_drop=patch_drop
        )

    def __call__(self, ctx: Context) -> Losses:
        """The contrast of the pairs, nats."""
        return self.contrast(ctx, *self.encode(ctx))

    def encode(self, ctx: Context, **more: Any) -> Any:
        """What `encode_pairs` makes of the batch."""
        return encode_pairs(ctx.model, ctx.batch, key=ctx.key, **self.encoding, **more)

    def contrast(
        self,
        ctx: Context,
        zimg: Float[Array, "n d"],
        ztxt: Float[Array, "n *k d"],
        **bias: Float[Array, ""],
    ) -> Losses:
        """That of encoded pairs, with scale, bias and accuracy as metrics, and how many captions an
        image has where that may be several."""
        weight = ctx.batch["weight"]
        scale = clamped_scale(ctx.model.log_scale[...], max_scale=self.max_scale)
        given: Any = dict(scale=scale, weight=weight, dtype=compute_dtype(ctx.model), **bias)
        metrics: dict[str, Array] = {"scale": scale, **bias}
        if ztxt.ndim == 2:
            contrastive = self.loss(zimg, ztxt, **given)
        else:
            present = present_captions(ctx.batch["text"])
            contrastive = mean_over_captions(self.loss, zimg, ztxt, present=present, **given)
            metrics["captions"] = jnp.sum(present, axis=1).astype(jnp.float32)
            ztxt = ztxt[:, 0]
        metrics |= in_batch_accuracy(zimg, ztxt, weight=weight)
        return Losses({"contrastive": Term(contrastive)}, metrics)
