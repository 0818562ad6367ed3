"""Encoders as ONNX files with the names that optimum, transformers.js and FastEmbed expect.

  onnx/vision_model.onnx   pixel_values float32 [batch, 3, S, S], normalised
                           -> image_embeds [batch, D], last_hidden_state
  onnx/text_model.onnx     input_ids int64 [batch, sequence]
                           -> text_embeds [batch, D], last_hidden_state

beside the processor's and the tokenizer's files of transformers, as far as it has a class for the
model. `image_embeds` and `text_embeds` have unit norm and come first: FastEmbed takes the first
output, normalises images and not texts; where transformers does not normalise, its users do, and a
second time changes nothing. SigLIP's towers also give `pooler_output`, without unit norm, which is
what transformers.js reads. No attention mask goes in: the towers know their padding by its id, and
towers to which padding makes a difference are padded inside the graph.

The operators are basic ones, in the patterns that runtimes fuse; `opset` 13 and later will do.
"""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from vlp.interop.encoders import transformers_config
from vlp.interop.hf.write import cleaning, preprocessing, write_processors
from vlp.interop.load import Run
from vlp.interop.onnx.readme import readme
from vlp.interop.portable import encode_ids, encode_pixels, ids_of_any_shape, portable_model

__all__ = ["cleaning", "preprocessing", "reader", "write"]

NEEDS = {"onnx": "onnx"}  # a package, and the extra that has it
OPSETS = (13, 23)
SUFFIXES = {"fp32": "", "fp16": "_fp16", "int8": "_quantized"}  # as transformers.js looks for them


def write(
    run: Run,
    folder: Path,
    *,
    towers: str = "both",
    metrics: Mapping[str, float] | None = None,
    opset: int = 17,
    precision: str = "fp32",
) -> None:
    """Writes everything but the parity report.

    Args:
        run: whose model, preprocessing and tokenizer to write.
        folder: an empty folder.
        towers: "both", "image" or "text".
        metrics: figures for the README, by name.
        opset: version of ONNX's operators; 17 is read by what is some years old.
        precision: "fp32"; "fp16": weights and arithmetic of half precision, inputs and outputs
            float32; "int8": onnxruntime's dynamic quantisation of matrices, for CPUs.

    Raises:
        ValueError: a setting is unknown, ONNX cannot express the model, or a library is missing.
    """
    if precision not in SUFFIXES:
        raise ValueError(f"precision must be one of {', '.join(SUFFIXES)}, got {precision!r}")
    if not OPSETS[0] <= opset <= OPSETS[1]:
        raise ValueError(f"opset must be from {OPSETS[0]} to {OPSETS[1]}, got {opset}")
    try:
        from vlp.interop.onnx.convert import convert
        from vlp.interop.onnx.precision import save
    except ImportError as error:
        raise ValueError(
            f"writing ONNX needs onnx, got {error}; pip install 'vlp[onnx]'"
        ) from error
    config = transformers_config(run, towers=towers)
    (folder / "onnx").mkdir()
    for name, function, inputs, outputs in _towers(run, towers, config["model_type"]):
        model = convert(function, inputs, outputs=outputs, opset=opset)
        save(model, folder / "onnx" / f"{name}{SUFFIXES[precision]}.onnx", precision=precision)
        del model  # before the next tower's weights
    text = json.dumps(config, indent=2, ensure_ascii=False)
    (folder / "config.json").write_text(text + "\n", encoding="utf-8")
    write_processors(run, folder, config=config, towers=towers)
    files = sorted(path.name for path in (folder / "onnx").glob("*.onnx"))
    text = readme(run, files=files, metrics=metrics or {})
    (folder / "README.md").write_text(text, encoding="utf-8")


def reader(folder: Path) -> Any:
    """The folder, opened by onnxruntime.

    Raises:
        ImportError: onnxruntime is not here.
    """
    from vlp.interop.onnx.reader import OnnxReader

    return OnnxReader(folder)


def _towers(run: Run, towers: str, model_type: str):
    """For each file its name, function, inputs and outputs."""
    # What transformers calls the last hidden state of CLIP's image tower is not yet normalised.
    plain = model_type.startswith("clip") and run.model.kwargs["image"] is not None
    image = run.model.kwargs["image"] or {}
    plain = plain and image.get("kind", "vit") == "vit" and image.get("pool", "cls") == "cls"
    changes = {"norm_after_pool": True} if plain else {}
    model = portable_model(run, target="ONNX", towers=towers, **changes)
    count = 3 if model_type.startswith("siglip") else 2
    more = ("last_hidden_state", "pooler_output")[: count - 1]
    if towers != "text" and model.image is not None:
        batch = jax.export.symbolic_shape("batch")[0]
        size = model.image.image_size
        pixels = {"pixel_values": jax.ShapeDtypeStruct((batch, 3, size, size), jnp.float32)}
        function = partial(_first, partial(_channels_first, model), count)
        yield "vision_model", function, pixels, ("image_embeds", *more)
    if towers != "image" and model.text is not None:
        function = partial(_first, partial(encode_ids, model), count)
        ids = {"input_ids": ids_of_any_shape(model)}
        yield "text_model", function, ids, ("text_embeds", *more)


def _channels_first(model: Any, pixels: jax.Array) -> tuple[jax.Array, ...]:
    return encode_pixels(model, pixels.transpose(0, 2, 3, 1))


def _first(function: Any, count: int, x: jax.Array) -> tuple[jax.Array, ...]:
    return function(x)[:count]
