"""SigLIP: of every image and every caption, say whether they belong together."""

from collections.abc import Callable
from typing import Any

from vlp.losses import sigmoid_loss
from vlp.objectives.encode import clamped_scale, encode_pairs, in_batch_accuracy


class SigLip:
    """The objective of SigLIP; needs a model with a bias.

    Args:
        loss: a function with the signature of `sigmoid_loss`; for a mesh, one made by
            `vlp.parallel.contrastive.contrastive_loss("sigmoid", ...)`.
        micro_batch_size: pairs encoded at a time (GradCache), or None for all at once.
        patch_drop: share of the patches left out of each image while training (FLIP).
        max_scale: upper limit of the learned multiplier of the cosines.

    References:
        Zhai et al., 2023, https://arxiv.org/abs/2303.15343; Gao et al., 2021 (GradCache),
        https://arxiv.org/abs/2101.06983.
    """

    def __init__(
        self,
        loss: Callable = sigmoid_loss,
        *,
        micro_batch_size: int | None = None,
        patch_drop: float = 0.0,
        max_scale: float = 100.0,
    ):
        self.loss = loss
        self.max_scale = max_scale
        self.encoding: dict[str, Any] = dict(
            micro_batch_size=micro_batch_size, patch_drop=patch_drop
        )

    def __call__(self, model: Any, teacher: Any, batch: Any, *, key: Any, carry: Any):
        """Per-image losses, metrics and the carry, which this objective leaves as it is.

        Raises:
            ValueError: when the model has no bias.
        """
        if model.bias is None:
            raise ValueError(
                "the sigmoid loss needs a bias, got a model without; set init_bias=-10"
            )
        zimg, ztxt = encode_pairs(model, batch, key=key, **self.encoding)
        scale = clamped_scale(model.log_scale[...], max_scale=self.max_scale)
        bias = model.bias[...]
        loss = self.loss(zimg, ztxt, scale=scale, bias=bias, weight=batch["weight"])
        metrics = {
            "scale": scale,
            "bias": bias,
            **in_batch_accuracy(zimg, ztxt, weight=batch["weight"]),
        }
        return loss, metrics, carry
