"""Hidden patches painted again: masked image modelling with pixels as targets."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from vlp.models.protocols import PredictsPixels, offers
from vlp.nn.patches import extract_patches, kept_patches
from vlp.objectives.common.contract import Context, Losses, Objective, Term
from vlp.objectives.common.micro_batches import MicroBatches

_EPSILON = 1e-6  # on the variance of a patch's pixels, as in MAE's code


class MaskedImages(Objective):
    """Masked image modelling on the images alone: VLMo's first stage.

    Freeze all but what reads images, or the rest of the model decays and drifts for nothing.
    Different from the paper, whose first stage is BEiT: that predicts the ids of an image tokenizer
    trained on other data, here the targets are the pixels of each hidden patch, normalised by
    their own mean and deviation (MAE); patches are hidden one by one at random (SimMIM), not in
    blocks. As in BEiT and SimMIM the hidden ones go through all blocks as a learned mask, with
    their positions.

    Args:
        mask_ratio: share of the patches that are hidden, over 0 and under 1.
        micro_batch_size: images at a time (GradCache), see `MicroBatches`; None for all at once.
        mesh: over which the batch is split.

    Raises:
        ValueError: when the share is no such number.

    References:
        Bao et al., 2022 (VLMo), https://arxiv.org/abs/2111.02358, section 2.4; Bao et al., 2022
        (BEiT), https://arxiv.org/abs/2106.08254; He et al., 2022 (MAE),
        https://arxiv.org/abs/2111.06377, section 3; Xie et al., 2022 (SimMIM),
        https://arxiv.org/abs/2111.09886.
    """

    fields = ("image",)

    def __init__(
        self, *, mask_ratio: float = 0.6, micro_batch_size: int | None = None, mesh: Any = None
    ):
        if not 0 < mask_ratio < 1:
            raise ValueError(
                f"mask_ratio must be over 0 and under 1, got {mask_ratio}; try 0.6 (SimMIM)"
            )
        self.mask_ratio, self.micro = mask_ratio, MicroBatches(micro_batch_size, mesh)

    def __call__(self, ctx: Context) -> Losses:
        """The squared errors of the hidden patches.

        Raises:
            ValueError: when the model does not predict pixels.
        """
        model, batch = ctx.model, ctx.batch
        if not offers(model, PredictsPixels):
            raise ValueError(
                "masked images need a model that predicts pixels, got "
                f"{type(model).__name__}; give model.multiway"
            )
        patch_size = model.image.patch_size
        hidden = hidden_patches(
            jax.random.split(ctx.key, len(batch["image"])),
            num_patches=model.image.num_patches,
            ratio=self.mask_ratio,
        )

        def errors(model: Any, rows: Any) -> Float[Array, "n p"]:
            images, hidden = rows
            targets = normalised_patches(extract_patches(model.normalise(images), patch_size))
            predicted = model.predict_pixels(images, hidden=hidden)
            return jnp.mean(jnp.square(predicted - targets), axis=2)

        error = self.micro(errors, model, (batch["image"], hidden))
        share = hidden.astype(jnp.float32)
        loss = jnp.sum(share * error, axis=1) / jnp.sum(share, axis=1)
        return Losses({"masked": Term(loss)})


def hidden_patches(keys: Key[Array, " n"], *, num_patches: int, ratio: float) -> Bool[Array, "n p"]:
    """Which patches of each image are hidden: a random subset, of one size for all images.

    Args:
        keys: one an image.
        num_patches: of each image.
        ratio: share to hide; at least one patch is.
    """
    chosen = kept_patches(keys, num_patches=num_patches, patch_drop=1 - ratio)
    places = jnp.arange(num_patches).reshape(1, 1, -1)
    return jnp.any(chosen[:, :, None] == places, axis=1)


def normalised_patches(patches: Float[Array, "n p c"]) -> Float[Array, "n p c"]:
    """Patches with mean 0 and variance 1, each by itself; one of a single colour becomes 0."""
    centred = patches - jnp.mean(patches, axis=2, keepdims=True)
    # The unbiased variance, as in MAE's code.
    variance = jnp.var(patches, axis=2, keepdims=True, ddof=1)
    return centred * jax.lax.rsqrt(variance + _EPSILON)
