"""CatLIP: say of each image which of many labels, the nouns of its caption, it has."""

from typing import Any

import jax
from jaxtyping import Array, Float

from vlp.losses.labels import best_is_own, label_losses
from vlp.models.protocols import TellsLabels, offers
from vlp.objectives.common.contract import Context, Losses, Objective, Term
from vlp.objectives.common.micro_batches import MicroBatches


class Catlip(Objective):
    """The objective of CatLIP, on data of `vlp data label`.

    Args:
        micro_batch_size: images at a time (GradCache), see `MicroBatches`; None for all at once.
        mesh: over which the batch is split.

    References:
        Mehta et al., 2024, https://arxiv.org/abs/2404.15653; of its released recipe the learned
        augmentation is left out.
    """

    fields = ("image", "labels")

    def __init__(self, *, micro_batch_size: int | None = None, mesh: Any = None):
        self.micro = MicroBatches(micro_batch_size, mesh)

    def __call__(self, ctx: Context) -> Losses:
        """The binary cross entropies of all labels, nats an image.

        Raises:
            ValueError: when the model tells no labels.
        """
        model, batch = ctx.model, ctx.batch
        if not offers(model, TellsLabels):
            raise ValueError(
                f"labels need a model that tells them, got {type(model).__name__}; give "
                "model.num_labels"
            )

        def judged(model: Any, rows: Any) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
            images, labels = rows
            logits = model.tell_labels(model.encode_image(images))
            best = jax.lax.stop_gradient(best_is_own(logits, labels))
            return label_losses(logits, labels), best

        losses, best = self.micro(judged, model, (batch["image"], batch["labels"]))
        return Losses({"labels": Term(losses)}, {"best_label": best})
