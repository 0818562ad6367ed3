"""SigLIP: of every image and every caption, say whether they belong together."""

from typing import Any

from jax.sharding import Mesh

from vlp.losses.sharded import DEFAULT_TILE
from vlp.objectives.common.contract import Context, Losses, Objective, Term
from vlp.objectives.common.encode import clamped_scale, encode_pairs, in_batch_accuracy
from vlp.parallel.contrastive import contrastive_loss


class SigLip(Objective):
    """The objective of SigLIP; needs a model with a bias.

    Args:
        micro_batch_size: pairs encoded at a time (GradCache), or None for all at once.
        patch_drop: share of the patches left out of each image while training (FLIP).
        max_scale: upper limit of the learned multiplier of the cosines.
        mesh: over which the batch is split, see `vlp.parallel.contrastive.contrastive_loss`.
        implementation, tile: of the contrastive loss, likewise.

    References:
        Zhai et al., 2023, https://arxiv.org/abs/2303.15343; Gao et al., 2021 (GradCache),
        https://arxiv.org/abs/2101.06983.
    """

    def __init__(
        self,
        *,
        micro_batch_size: int | None = None,
        patch_drop: float = 0.0,
        max_scale: float = 100.0,
        mesh: Mesh | None = None,
        implementation: str = "auto",
        tile: int = DEFAULT_TILE,
    ):
        self.loss = contrastive_loss("sigmoid", mesh=mesh, implementation=implementation, tile=tile)
        self.max_scale = max_scale
        self.encoding: dict[str, Any] = dict(
            micro_batch_size=micro_batch_size, patch_drop=patch_drop
        )

    def __call__(self, ctx: Context) -> Losses:
        """The contrast of the pairs, nats an image.

        Raises:
            ValueError: when the model has no bias.
        """
        model, weight = ctx.model, ctx.batch["weight"]
        if model.bias is None:
            raise ValueError(
                "the sigmoid loss needs a bias, got a model without; set init_bias=-10"
            )
        zimg, ztxt = encode_pairs(model, ctx.batch, key=ctx.key, **self.encoding)
        scale = clamped_scale(model.log_scale[...], max_scale=self.max_scale)
        bias = model.bias[...]
        contrastive = self.loss(zimg, ztxt, scale=scale, bias=bias, weight=weight)
        metrics = {
            "scale": scale,
            "bias": bias,
            **in_batch_accuracy(zimg, ztxt, weight=weight),
        }
        return Losses({"contrastive": Term(contrastive)}, metrics)
