"""Distillation: a small CLIP learns from pairs, and from how a large one sees them."""

import functools
import operator
from collections.abc import Iterable, Sequence
from typing import Any

import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Float

from vlp.losses import feature_loss
from vlp.losses.sharded import DEFAULT_TILE
from vlp.objectives.common.contract import Context, Losses, Objective, Term
from vlp.objectives.common.encode import clamped_scale, encode_pairs, in_batch_accuracy
from vlp.parallel.affinity import affinity_over
from vlp.parallel.contrastive import contrastive_loss

STORED = ("{}/image_embedding", "{}/text_embedding")


class Distillation(Objective):
    """The objective of MobileCLIP, and with `feature_weight` that of CLIP-KD.

    MobileCLIP weighs the contrast 1 - lambda and the affinity lambda; CLIP-KD all but the features
    with 1, and these with 2000. Of several teachers each is to be followed as much.

    Args:
        contrastive_weight, affinity_weight, feature_weight: of the three terms, see
            `vlp.losses.softmax_loss`, `affinity_loss` and `feature_loss`; 0 leaves a term out.
        teachers: names of the frozen models, or of the stored vectors.
        stored: the teachers' embeddings are fields of the batch, `NAME/image_embedding` and
            `NAME/text_embedding`, unit norm; else the teachers are frozen models, which see what
            the student sees.
        teacher_scales: multipliers of the teachers' cosines, one a teacher; None takes those that
            frozen models learned.
        micro_batch_size: pairs encoded at a time (GradCache), or None for all at once.
        patch_drop: share of the patches left out of each of the student's images while training.
        max_scale: upper limit of the learned multiplier of the student's cosines.
        mesh: over which the batch is split, see `vlp.parallel.contrastive.contrastive_loss`.
        implementation, tile: of the contrastive loss, likewise.

    Raises:
        ValueError: when no term has a weight or one is under 0, or scales are missing or too many.

    References:
        Vasu et al., 2024 (MobileCLIP), https://arxiv.org/abs/2311.17049; Yang et al., 2024
        (CLIP-KD), https://arxiv.org/abs/2307.12732.
    """

    def __init__(
        self,
        *,
        contrastive_weight: float = 1.0,
        affinity_weight: float = 1.0,
        feature_weight: float = 0.0,
        teachers: Sequence[str] = ("teacher",),
        stored: bool = False,
        teacher_scales: Sequence[float] | None = None,
        micro_batch_size: int | None = None,
        patch_drop: float = 0.0,
        max_scale: float = 100.0,
        mesh: Mesh | None = None,
        implementation: str = "auto",
        tile: int = DEFAULT_TILE,
    ):
        self.weights = dict(
            contrastive=contrastive_weight, affinity=affinity_weight, feature=feature_weight
        )
        _check(self.weights, teachers, teacher_scales, stored=stored)
        self.contrast = contrastive_loss(
            "softmax", mesh=mesh, implementation=implementation, tile=tile
        )
        self.affinity = affinity_over(mesh)
        self.teachers = tuple(teachers)
        self.scales = [None] * len(teachers) if teacher_scales is None else teacher_scales
        self.frozen = () if stored else self.teachers
        if stored:
            vectors = (form.format(name) for name in teachers for form in STORED)
            self.fields = ("image", "text", *vectors)
        self.max_scale = max_scale
        self.micro_batch_size, self.patch_drop = micro_batch_size, patch_drop

    def __call__(self, ctx: Context) -> Losses:
        """The contrast of the pairs and the distances from the teachers, each where it counts.

        Raises:
            ValueError: when features are compared with those of a teacher of another width.
        """
        weight = ctx.batch["weight"]
        zimg, ztxt = self._encode(ctx.model, ctx, patch_drop=self.patch_drop)
        scale = clamped_scale(ctx.model.log_scale[...], max_scale=self.max_scale)
        named = zip(self.teachers, self.scales, strict=True)
        teachers = [self._teacher(ctx, name, theirs) for name, theirs in named]

        def contrastive():
            return self.contrast(zimg, ztxt, scale=scale, weight=weight)

        def affinity():
            given = dict(scale=scale, weight=weight)
            return _mean(
                self.affinity(zimg, ztxt, **vectors, teacher_scale=theirs, **given)
                for vectors, theirs in teachers
            )

        def feature():
            return _mean(feature_loss(zimg, ztxt, **vectors) for vectors, _ in teachers)

        losses = dict(contrastive=contrastive, affinity=affinity, feature=feature)
        terms = {name: Term(losses[name](), value) for name, value in self.weights.items() if value}
        return Losses(terms, {"scale": scale, **in_batch_accuracy(zimg, ztxt, weight=weight)})

    def _teacher(
        self, ctx: Context, name: str, scale: float | None
    ) -> tuple[dict[str, Array], float | Array]:
        """A teacher's embeddings of the batch, and the multiplier of their cosines."""
        if self.frozen:
            zimg, ztxt = self._encode(ctx.frozen[name], ctx)
        else:
            zimg, ztxt = (ctx.batch[field.format(name)] for field in STORED)
        vectors = dict(teacher_zimg=zimg, teacher_ztxt=ztxt)
        return vectors, jnp.exp(ctx.frozen[name].log_scale[...]) if scale is None else scale

    def _encode(self, model: Any, ctx: Context, *, patch_drop: float = 0.0) -> Any:
        size = self.micro_batch_size
        return encode_pairs(
            model, ctx.batch, key=ctx.key, micro_batch_size=size, patch_drop=patch_drop
        )


def _mean(losses: Iterable[Float[Array, " n"]]) -> Float[Array, " n"]:
    every = tuple(losses)
    return functools.reduce(operator.add, every) / len(every)


def _check(
    weights: dict[str, float],
    teachers: Sequence[str],
    scales: Sequence[float] | None,
    *,
    stored: bool,
) -> None:
    if min(weights.values()) < 0 or not any(weights.values()):
        raise ValueError(f"weights of terms must be at least 0, and one above, got {weights}")
    if not teachers:
        raise ValueError("teachers must name a model at least, got none; objective clip needs none")
    if stored and scales is None:
        raise ValueError(
            "stored vectors bring no multiplier of their cosines: teacher_scales must have one for "
            f"each of {', '.join(teachers)}, got None; CLIP's own models have 100"
        )
    if scales is not None and len(scales) != len(teachers):
        raise ValueError(
            f"teacher_scales must have one number for each of {', '.join(teachers)}, got {scales}"
        )
