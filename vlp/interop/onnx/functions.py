"""What each ONNX file computes: a function, its inputs and outputs, under the names of peers.

References:
    optimum's exporter, whose names and axes these are:
    https://huggingface.co/docs/optimum-onnx/onnx/usage_guides/export_a_model
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from vlp.interop.loaded import Run
from vlp.interop.portable import (
    encode_ids,
    encode_pixels,
    ids_of_any_shape,
    portable_model,
    takes_short_rows,
)


class OnnxFile(NamedTuple):
    """One file, before it is converted.

    Attributes:
        name: without precision and extension.
        function: of arrays, in the order of `inputs`, to those of `outputs`.
        inputs: shape and dtype by name.
        outputs: names.
    """

    name: str
    function: Callable[..., tuple[jax.Array, ...]]
    inputs: Mapping[str, jax.ShapeDtypeStruct]
    outputs: tuple[str, ...]


def onnx_files(run: Run, *, towers: str, model_type: str, joint: bool) -> Iterator[OnnxFile]:
    """The files of a run, one at a time.

    Args:
        run: whose model.
        towers: "both", "image" or "text".
        model_type: what transformers calls the model.
        joint: also both towers in one file, where there are both.

    Raises:
        ValueError: ONNX cannot express the image tower.
    """
    image = run.model.kwargs["image"] or {}
    # What transformers calls the last hidden state of CLIP's image tower is not yet normalised.
    plain = model_type.startswith("clip") and image.get("kind", "vit") == "vit"
    plain = plain and bool(image) and image.get("pool", "cls") == "cls"
    changes = {"norm_after_pool": True} if plain else {}
    model = portable_model(run, target="ONNX", towers=towers, **changes)
    more = ("last_hidden_state", *(["pooler_output"] if model_type.startswith("siglip") else []))
    count = 1 + len(more)
    if towers != "text" and model.image is not None:
        (batch,) = jax.export.symbolic_shape("batch")
        inputs = {"pixel_values": _pixels(model, batch)}
        outputs = ("image_embeds", *more)
        yield OnnxFile("vision_model", lambda x: _from_pixels(model, x)[:count], inputs, outputs)
    if towers != "image" and model.text is not None:
        inputs = {"input_ids": ids_of_any_shape(model)}
        outputs = ("text_embeds", *more)
        yield OnnxFile("text_model", lambda x: encode_ids(model, x)[:count], inputs, outputs)
    if joint and towers == "both":
        yield _joint(model, masked=not model_type.startswith("siglip"))


def _joint(model: Any, *, masked: bool) -> OnnxFile:
    """Every image with every text; with a mask of the texts where transformers' class takes one."""
    limit = [f"sequence_length <= {model.text.length}"]
    text, length, image = jax.export.symbolic_shape(
        "text_batch_size, sequence_length, image_batch_size",
        constraints=limit if takes_short_rows(model.kwargs["text"]) else (),
    )
    ids = jax.ShapeDtypeStruct((text, length), jnp.int32)
    inputs = {"input_ids": ids, "pixel_values": _pixels(model, image)}
    inputs |= {"attention_mask": ids} if masked else {}
    outputs = ("logits_per_image", "logits_per_text", "text_embeds", "image_embeds")
    return OnnxFile("model", partial(_similarities, model), inputs, outputs)


def _similarities(
    model: Any, ids: jax.Array, pixels: jax.Array, mask: jax.Array | None = None
) -> tuple[jax.Array, ...]:
    if mask is not None:  # our towers know their padding by its id
        ids = jnp.where(mask == 0, jnp.asarray(model.text.pad_id, ids.dtype), ids)
    zimg, ztxt = _from_pixels(model, pixels)[0], encode_ids(model, ids)[0]
    logits = model.logits(zimg, ztxt)
    return logits, logits.T, ztxt, zimg


def _pixels(model: Any, batch: Any) -> jax.ShapeDtypeStruct:
    size = model.image.image_size
    return jax.ShapeDtypeStruct((batch, 3, size, size), jnp.float32)


def _from_pixels(model: Any, pixels: jax.Array) -> tuple[jax.Array, ...]:
    return encode_pixels(model, pixels.transpose(0, 2, 3, 1))
