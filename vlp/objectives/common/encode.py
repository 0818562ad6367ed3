"""What contrastive objectives share: encoding a batch, whole or in micro-batches, and metrics."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from vlp.models.base import Encoded
from vlp.nn.batch_norm import learns_statistics
from vlp.nn.patches import kept_patches
from vlp.objectives.common.micro_batches import AT_ONCE, MicroBatches
from vlp.objectives.common.several import encode_captions

_ACCURACY_PAIRS = 1024  # accuracy is a diagnosis: never worth an n x n matrix at large n


def embeddings(model: Any, image: Any, caption: Any, text: Int[Array, "n *k l"]) -> tuple[Any, Any]:
    """Of encoded images and texts what contrastive losses look at."""
    return image.embedding, caption.embedding


def encode_all(model: Any, batch: Mapping[str, Any], *, micro: MicroBatches) -> tuple[Any, Any]:
    """All that a model's `encode_image` and `encode_text` return for a batch.

    Args:
        micro: how many pairs are encoded at a time.
    """

    def encode(model, rows):
        return model.encode_image(rows["image"]), model.encode_text(rows["text"])

    return micro(encode, model, {"image": batch["image"], "text": batch["text"]})


def encode_pairs(
    model: Any,
    batch: Mapping[str, Any],
    *,
    key: Key[Array, ""],
    micro: MicroBatches = AT_ONCE,
    patch_drop: float = 0.0,
    token_drop: float = 0.0,
    outputs: Callable[[Any, Any, Any, Array], Any] = embeddings,
) -> Any:
    """Image and text embeddings `[n, d]` of a batch, or what else `outputs` makes of the pairs.

    Of texts of several captions a row, `[n, k, l]`, the embeddings are `[n, k, d]`.

    Randomness belongs to the example, not to the micro-batch, so that losses and gradients stay
    those of the whole batch under `patch_drop` and `token_drop` too.

    Batch norm takes its statistics from the examples with a weight and moves its running ones,
    unless they are frozen.

    Args:
        micro: how many pairs are encoded at a time.
        token_drop: share of an image's tokens left out behind its tower; the first stays.
        outputs: from the model, what its `encode_image` and `encode_text` return, and the token
            ids, to a pytree of arrays `[n, ...]`. Of a micro-batch nothing else is kept.

    Raises:
        ValueError: when micro-batches meet statistics of the whole batch.
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
        return outputs(model, image, encode_captions(model, part["text"]), part["text"])

    if learning and micro.divide(inputs):
        raise ValueError(
            "batch norm needs the whole batch at once: its statistics would be those of "
            f"micro-batches, got micro_batch_size {micro.size}; set it to None, or freeze "
            'the statistics with "image/.*/(mean|variance)"'
        )
    return micro(encode, model, inputs)


def _fewer_tokens(image: Encoded, keys: Key[Array, " n"], *, share: float) -> Encoded:
    """Encoded images without a share of their tokens, of each others; the first is kept."""
    own = jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, 1)  # not those of `patch_drop`
    kept = kept_patches(own, num_patches=image.tokens.shape[1] - 1, patch_drop=share)
    kept = jnp.pad(kept + 1, ((0, 0), (1, 0)))
    return image._replace(tokens=jnp.take_along_axis(image.tokens, kept[:, :, None], axis=1))


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
