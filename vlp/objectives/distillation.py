"""Distillation: a small CLIP learns from pairs, and from how a large one sees them."""

import functools
import operator
from collections.abc import Iterable, Sequence
from typing import Any

import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Float

from vlp.losses import feature_loss
from vlp.objectives.clip import Clip
from vlp.objectives.common.contract import Context, Losses, Term
from vlp.objectives.common.encode import (
    clamped_scale,
    compute_dtype,
    encode_pairs,
    in_batch_accuracy,
)
from vlp.parallel.affinity import affinity_over
from vlp.settings import handing_on

STORED = ("{}/image_embedding", "{}/text_embedding")


class Distillation(Clip):
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
        mesh: over which the batch is split.
        **settings: of `Clip`; patches are left out and the multiplier is limited for the student
            alone.

    Raises:
        ValueError: when no term has a weight or one is under 0, or scales are missing or too many.

    References:
        Vasu et al., 2024 (MobileCLIP), https://arxiv.org/abs/2311.17049; Yang et al., 2024
        (CLIP-KD), https://arxiv.org/abs/2307.12732.
    """

    embeddings_alone = False  # a teacher may read more of them
    several_captions = False

    @handing_on(Clip)
    def __init__(
        self,
        *,
        contrastive_weight: float = 1.0,
        affinity_weight: float = 1.0,
        feature_weight: float = 0.0,
        teachers: Sequence[str] = ("teacher",),
        stored: bool = False,
        teacher_scales: Sequence[float] | None = None,
        mesh: Mesh | None = None,
        **settings: Any,
    ):
        super().__init__(mesh=mesh, **settings)
        self.weights = dict(
            contrastive=contrastive_weight, affinity=affinity_weight, feature=feature_weight
        )
        _check(self.weights, teachers, teacher_scales, stored=stored)
        self.affinity = affinity_over(mesh, operands=settings.get("operands", "model"))
        self.teachers = tuple(teachers)
        self.scales = [None] * len(teachers) if teacher_scales is None else teacher_scales
        self.frozen = () if stored else self.teachers
        if stored:
            vectors = (form.format(name) for name in teachers for form in STORED)
            self.fields = ("image", "text", *vectors)

    def __call__(self, ctx: Context) -> Losses:
        """The contrast of the pairs and the distances from the teachers, each where it counts.

        Raises:
            ValueError: when features are compared with those of a teacher of another width.
        """
        weight = ctx.batch["weight"]
        zimg, ztxt = self.encode(ctx)
        scale = clamped_scale(ctx.model.log_scale[...], max_scale=self.max_scale)
        named = zip(self.teachers, self.scales, strict=True)
        teachers = [self._teacher(ctx, name, theirs) for name, theirs in named]

        dtype = compute_dtype(ctx.model)

        def contrastive():
            return self.loss(zimg, ztxt, scale=scale, weight=weight, dtype=dtype)

        def affinity():
            given = dict(scale=scale, weight=weight, dtype=dtype)
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
            whole = self.encoding | dict(patch_drop=0.0)
            zimg, ztxt = encode_pairs(ctx.frozen[name], ctx.batch, key=ctx.key, **whole)
        else:
            zimg, ztxt = (ctx.batch[field.format(name)] for field in STORED)
        vectors = dict(teacher_zimg=zimg, teacher_ztxt=ztxt)
        return vectors, jnp.exp(ctx.frozen[name].log_scale[...]) if scale is None else scale


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
