"""CLIP: each image finds its caption among all captions, and each caption its image."""

from collections.abc import Callable
from typing import Any

from vlp.losses import softmax_loss
from vlp.objectives.encode import clamped_scale, encode_pairs, in_batch_accuracy


class Clip:
    """The objective of CLIP, and with `patch_drop` that of FLIP.

    Args:
        loss: a function with the signature of `softmax_loss`; for a mesh, one made by
            `vlp.parallel.contrastive.contrastive_loss("softmax", ...)`.
        micro_batch_size: pairs encoded at a time (GradCache), or None for all at once.
        patch_drop: share of the patches left out of each image while training.
        max_scale: upper limit of the learned multiplier of the cosines.

    References:
        Radford et al., 2021, https://arxiv.org/abs/2103.00020; Li et al., 2022 (FLIP),
        https://arxiv.org/abs/2212.00794; Gao et al., 2021 (GradCache),
        https://arxiv.org/abs/2101.06983.
    """

    def __init__(
        self,
        loss: Callable = softmax_loss,
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
        """Per-pair losses, metrics and the carry, which this objective leaves as it is."""
        zimg, ztxt = encode_pairs(model, batch, key=key, **self.encoding)
        scale = clamped_scale(model.log_scale[...], max_scale=self.max_scale)
        loss = self.loss(zimg, ztxt, scale=scale, weight=batch["weight"])
        metrics = {"scale": scale, **in_batch_accuracy(zimg, ztxt, weight=batch["weight"])}
        return loss, metrics, carry
