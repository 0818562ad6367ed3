"""What contrastive objectives share: encoding a batch, whole or in micro-batches, and metrics."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, Key

from vlp.models.base import Encoded
from vlp.nn.batch_norm import learns_statistics
from vlp.nn.patches import kept_patches
from vlp.parallel.mesh import AnyMesh, said
from vlp.parallel.shares import own_rows, parts

_ACCURACY_PAIRS = 1024  # accuracy is a diagnosis: never worth an n x n matrix at large n


def embeddings(model: Any, image: Any, caption: Any, text: Int[Array, "n l"]) -> tuple[Any, Any]:
    """Of encoded images and texts what contrastive losses look at."""
    return image.embedding, caption.embedding


def encode_pairs(
    model: Any,
    batch: Mapping[str, Array],
    *,
    key: Key[Array, ""],
    micro_batch_size: int | None = None,
    patch_drop: float = 0.0,
    token_drop: float = 0.0,
    mesh: AnyMesh | None = None,
    outputs: Callable[[Any, Any, Any, Array], Any] = embeddings,
) -> Any:
    """Image and text embeddings `[n, d]` of a batch, or what else `outputs` makes of the pairs.

    With `micro_batch_size` the towers see that many pairs at a time and the backward pass encodes
    them again, so that memory holds the activations of one micro-batch only, while losses and
    gradients are those of the whole batch. On a mesh each part of its axis `data` goes through its
    own rows, and gradients are added up once a step. Randomness belongs to the example, not to the
    micro-batch, so they stay equal under `patch_drop` and `token_drop` too.

    Batch norm takes its statistics from the examples with a weight and moves its running ones,
    unless they are frozen.

    Args:
        token_drop: share of an image's tokens left out behind its tower; the first stays.
        mesh: over which the batch is split.
        outputs: from the model, what its `encode_image` and `encode_text` return, and the token
            ids, to a pytree of arrays `[n, ...]`. Of a micro-batch nothing else is kept.

    Raises:
        ValueError: when micro-batches meet statistics of the whole batch, or do not divide by the
            parts of the mesh.

    References:
        Gao et al., 2021 (GradCache), https://arxiv.org/abs/2101.06983.
    """
    inputs = {"image": batch["image"], "text": batch["text"]}
    if patch_drop or token_drop:
        inputs["key"] = jax.random.split(key, batch["image"].shape[0])
    learning: dict[str, Any] = {}
    if learns_statistics(model):
        learning = dict(train=True, present=batch["weight"] > 0)

    def encode(model, part):
        drop = dict(keys=part["key"], patch_drop=patch_drop) if patch_drop else {}
        image = model.encode_image(part["image"], **drop, **learning)
        if token_drop:
            image = _fewer_tokens(image, part["key"], share=token_drop)
        return outputs(model, image, model.encode_text(part["text"]), part["text"])

    if micro_batch_size is None or micro_batch_size >= batch["image"].shape[0]:
        return encode(model, inputs)
    if learning:
        raise ValueError(
            "batch norm needs the whole batch at once: its statistics would be those of "
            f"micro-batches, got micro_batch_size {micro_batch_size}; set it to None, or freeze "
            'the statistics with "image/.*/(mean|variance)"'
        )
    check_micro_batches(micro_batch_size, mesh)
    graphdef, params = nnx.split(model)

    def through_own(params, inputs):
        return map_micro_batches(
            lambda part: encode(nnx.merge(graphdef, params), part),
            inputs,
            size=micro_batch_size // parts(mesh),
        )

    return own_rows(through_own, mesh)(params, inputs)


def _fewer_tokens(image: Encoded, keys: Key[Array, " n"], *, share: float) -> Encoded:
    """Encoded images without a share of their tokens, of each others; the first is kept."""
    own = jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, 1)  # not those of `patch_drop`
    kept = kept_patches(own, num_patches=image.tokens.shape[1] - 1, patch_drop=share)
    kept = jnp.pad(kept + 1, ((0, 0), (1, 0)))
    return image._replace(tokens=jnp.take_along_axis(image.tokens, kept[:, :, None], axis=1))


def check_micro_batches(size: int | None, mesh: AnyMesh | None) -> None:
    """Raises ValueError for micro-batches that a mesh cannot have; None are none."""
    count = parts(mesh)
    sizes = {} if mesh is None else mesh.shape
    if size is not None and min(count, sizes.get("fsdp", 1), sizes.get("tensor", 1)) > 1:
        raise ValueError(  # XLA ends the process: spmd_partitioner_util.cc, ExpandDeviceGroups
            "micro_batch_size does not go with all of the mesh's axes data, fsdp and tensor, which "
            f"XLA cannot compile, got {size} on {said(sizes)}; set one of the axes to 1"
        )
    if size is not None and (size < 1 or size % count):
        raise ValueError(
            f"micro_batch_size must divide by the {count} parts of the mesh's axis data, got "
            f"{size}; try {max(1, -(-size // count)) * count}, or None for the whole batch at once"
        )


def map_micro_batches(function: Callable[[Any], Any], inputs: Any, *, size: int) -> Any:
    """`function(inputs)`, applied to `size` examples at a time and recomputed for gradients.

    Micro-batch s takes the examples s, s + steps, s + 2 steps, ...: where the batch axis is sharded
    in contiguous pieces, each micro-batch is spread over all devices, without communication.
    """
    n = jax.tree.leaves(inputs)[0].shape[0]
    steps = -(-n // size)

    def split(x):
        if n % size:
            x = jnp.concatenate([x, x[: steps * size - n]])  # sliced off again below
        return x.reshape(size, steps, *x.shape[1:]).swapaxes(0, 1)

    def join(x):
        return x.swapaxes(0, 1).reshape(steps * size, *x.shape[2:])[:n]

    return jax.tree.map(join, jax.lax.map(jax.checkpoint(function), jax.tree.map(split, inputs)))


def compute_dtype(model: Any) -> str:
    """What a model computes in, and so the operands of its losses; float32 where it says nothing.

    Args:
        model: any, of which only `dtype` is looked at.
    """
    return getattr(model, "dtype", "float32")


def clamped_scale(
    log_scale: Float[Array, ""], *, max_scale: float, min_scale: float = 0.0
) -> Float[Array, ""]:
    """The multiplier of the cosines, never over `max_scale` (CLIP: 100) or under `min_scale`.

    At a limit the gradient passes only where it leads back inside, as if the parameter were
    clipped after each update; a plain minimum would hold it there for good.
    """
    low = math.log(min_scale) if min_scale else -math.inf
    return jnp.exp(_clamp(log_scale, low, math.log(max_scale)))


@jax.custom_vjp
def _clamp(
    x: Float[Array, ""], low: Float[Array, ""] | float, high: Float[Array, ""] | float
) -> Float[Array, ""]:
    return jnp.clip(x, low, high)


def _clamp_forward(x, low, high):
    return jnp.clip(x, low, high), (x <= low, x >= high)


def _clamp_backward(at_limits, gradient):
    low, high = at_limits
    outwards = (low & (gradient > 0)) | (high & (gradient < 0))
    return jnp.where(outwards, 0.0, gradient), None, None


_clamp.defvjp(_clamp_forward, _clamp_backward)


def in_batch_accuracy(
    zimg: Float[Array, "n d"], ztxt: Float[Array, "n d"], *, weight: Float[Array, " n"]
) -> dict[str, Float[Array, ""]]:
    """How often the own text (image) is the nearest, among the first 1024 pairs at most."""
    m = min(zimg.shape[0], _ACCURACY_PAIRS)
    zimg, ztxt = jax.lax.stop_gradient((zimg[:m], ztxt[:m]))
    return top1(zimg @ ztxt.T, weight=weight[:m])


def top1(
    cosines: Float[Array, "n n"], *, weight: Float[Array, " n"]
) -> dict[str, Float[Array, ""]]:
    """How often the own text (image) is the nearest, by the similarities of all images and texts.

    Pairs of weight 0 neither ask nor answer.
    """
    m, present = len(weight), weight > 0
    cosines = jnp.where(present[:, None] & present[None, :], cosines, -2.0)
    count = jnp.maximum(jnp.sum(present), 1).astype(jnp.float32)

    def accuracy(axis):
        correct = present & (jnp.argmax(cosines, axis=axis) == jnp.arange(m))
        return jnp.sum(correct).astype(jnp.float32) / count

    return {"image_to_text_top1": accuracy(1), "text_to_image_top1": accuracy(0)}
