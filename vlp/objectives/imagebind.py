"""ImageBind: every modality is contrasted with images, and so all are bound together."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from jax.sharding import Mesh

from vlp.objectives.common.contract import Context, Losses, Objective, Term
from vlp.objectives.common.encode import clamped_scale, compute_dtype, in_batch_accuracy
from vlp.objectives.common.micro_batches import MicroBatches
from vlp.objectives.common.present import encode_present
from vlp.parallel.contrastive import contrastive_loss
from vlp.parallel.mesh import batch_parts
from vlp.settings import handing_on


class ImageBind(Objective):
    """The contrast of pairs of modalities, each over the rows of a batch that have both.

    Followed from the paper: a symmetric InfoNCE for each pair with an anchor, a scale for each.
    Different: the pair sets are mixed within a batch and all towers train together, where the
    authors take one set a batch and keep image and text towers frozen (`optim.freeze` does).

    Args:
        pairs: what is contrasted; the model has a scale for each.
        weights: of the pairs, 1 each where nothing is said.
        max_scale: upper limit of the learned multipliers of the cosines.
        micro_batch_size: rows of a modality encoded at a time (GradCache), see `MicroBatches`; None
            for all at once.
        mesh: over which the batch is split.
        most_rows: how many of a device's rows may have a modality, of those that not all have;
            other rows are not encoded. Runs give it by the shares of their sets.
        **spread: of `vlp.parallel.contrastive.contrastive_loss`.

    Raises:
        ValueError: when there is not one weight a pair.

    References:
        Girdhar et al., 2023, https://arxiv.org/abs/2305.05665, section 3.2.
    """

    @handing_on(contrastive_loss)
    def __init__(
        self,
        *,
        pairs: Sequence[str] = ("image-text", "image-audio"),
        weights: Sequence[float] = (),
        max_scale: float = 100.0,
        micro_batch_size: int | None = None,
        mesh: Mesh | None = None,
        most_rows: Mapping[str, int] | None = None,
        **spread: Any,
    ):
        if weights and len(weights) != len(pairs):
            raise ValueError(f"weights must be one a pair, {len(pairs)}, got {list(weights)}")
        self.pairs = {pair: pair.split("-") for pair in pairs}
        self.weights = dict(zip(pairs, weights or [1.0] * len(pairs), strict=True))
        self.max_scale, self.micro = max_scale, MicroBatches(micro_batch_size, mesh)
        self.most_rows, self.shards = most_rows or {}, batch_parts(mesh)
        self.loss = contrastive_loss("softmax", mesh=mesh, **spread)
        self.modalities = tuple(dict.fromkeys("-".join(pairs).split("-")))
        self.fields = (*self.modalities, *(f"present/{name}" for name in self.modalities))

    def __call__(self, ctx: Context) -> Losses:
        """The contrast of each pair, nats.

        Raises:
            ValueError: when the model has no scale for a pair.
        """
        model, batch = ctx.model, ctx.batch
        z = {
            name: encode_present(
                model,
                batch,
                name,
                most=self.most_rows.get(name),
                shards=self.shards,
                micro=self.micro,
            )
            for name in self.modalities
        }
        terms: dict[str, Term] = {}
        metrics: dict[str, Any] = {}
        for pair, (first, second) in self.pairs.items():
            rows = batch[f"present/{first}"] & batch[f"present/{second}"]
            weight = jnp.where(rows, batch["weight"], 0.0)
            scale = clamped_scale(_log_scale(model, pair), max_scale=self.max_scale)
            name = pair.replace("-", "_")
            given = dict(scale=scale, weight=weight, dtype=compute_dtype(model))
            loss = self.loss(z[first], z[second], **given)
            terms[name] = Term(loss, self.weights[pair], rows)
            right = in_batch_accuracy(z[first], z[second], weight=weight)
            metrics |= {f"{name}_scale": scale, f"{name}_top1": right["image_to_text_top1"]}
        return Losses(terms, metrics)


def _log_scale(model, pair):
    scales = getattr(model, "log_scales", {})
    if pair not in scales:
        raise ValueError(
            f"the model must compare {pair}, got {', '.join(scales) or 'one without pairs'}; set "
            'model.kind="bound" and model.pairs as objective.pairs'
        )
    return scales[pair][...]
