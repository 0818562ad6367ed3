"""Encoders as ONNX files with the names that optimum, transformers.js and FastEmbed expect.

  onnx/vision_model.onnx   pixel_values float32 [batch, 3, S, S], normalised
                           -> image_embeds [batch, D], last_hidden_state
  onnx/text_model.onnx     input_ids int64 [batch, sequence]
                           -> text_embeds [batch, D], last_hidden_state
  onnx/model.onnx          input_ids, pixel_values, attention_mask
                           -> logits_per_image, logits_per_text, text_embeds, image_embeds

beside the processor's and the tokenizer's files of transformers, as far as it has a class for the
model. `image_embeds` and `text_embeds` have unit norm and come first: FastEmbed takes the first
output, normalises images and not texts; where transformers does not normalise, its users do, and a
second time changes nothing. SigLIP's towers also give `pooler_output`, without unit norm, which is
what transformers.js reads. The towers know their padding by its id and take no attention mask, and
towers to which padding makes a difference are padded inside the graph.

`model.onnx` is both towers with their logits, for programs that open one file, as transformers.js
does for zero-shot classification. It repeats the weights, for those programs can share none.

The operators are basic ones, in the patterns that runtimes fuse; `opset` 13 and later will do.
"""

from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vlp.files import write_json, write_text
from vlp.interop.encoders import transformers_config
from vlp.interop.hf.write import cleaning, preprocessing, write_processors
from vlp.interop.loaded import Run
from vlp.interop.onnx.functions import onnx_files
from vlp.interop.onnx.readme import readme
from vlp.interop.portable import check_portable

__all__ = ["check_model", "cleaning", "preprocessing", "reader", "write"]

NEEDS = {"onnx": "onnx"}  # a package, and the extra that has it
OPSETS = (13, 23)
check_model = partial(check_portable, target="ONNX")
SUFFIXES = {"fp32": "", "fp16": "_fp16", "int8": "_quantized"}  # as transformers.js looks for them


def write(
    run: Run,
    folder: Path,
    *,
    towers: str = "both",
    metrics: Mapping[str, float] | None = None,
    opset: int = 17,
    precision: str = "fp32",
    joint: bool = True,
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
        joint: also write both towers as one file, which makes the folder twice as large.

    Raises:
        ValueError: a setting is unknown, or ONNX cannot express the model.
    """
    check_settings(opset=opset, precision=precision)
    from vlp.interop.onnx.convert import convert
    from vlp.interop.onnx.precision import save

    config = transformers_config(run, towers=towers)
    (folder / "onnx").mkdir()
    kind = config["model_type"]
    for file in onnx_files(run, towers=towers, model_type=kind, joint=joint):
        model = convert(file.function, file.inputs, outputs=file.outputs, opset=opset)
        path = folder / "onnx" / f"{file.name}{SUFFIXES[precision]}.onnx"
        save(model, path, precision=precision)
        del model  # before the next file's weights
    files = sorted(path.name for path in (folder / "onnx").glob("*.onnx"))
    write_json(folder / "config.json", config | _for_javascript(folder / "onnx"))
    write_processors(run, folder, config=config, towers=towers)
    text = readme(run, files=files, metrics=metrics or {})
    write_text(folder / "README.md", text)


def check_settings(*, opset: int = 17, precision: str = "fp32", **others: Any) -> None:
    """Raises ValueError for settings that nothing can be written with here.

    Args:
        opset, precision, **others: as in `write`.
    """
    if precision not in SUFFIXES:
        raise ValueError(f"precision must be one of {', '.join(SUFFIXES)}, got {precision!r}")
    if not OPSETS[0] <= opset <= OPSETS[1]:
        raise ValueError(f"opset must be from {OPSETS[0]} to {OPSETS[1]}, got {opset}")
    if precision != "fp32" and find_spec("onnxruntime") is None:
        raise ValueError(
            f"precision {precision!r} is made by onnxruntime, which is not installed; pip install "
            "'vlp[onnx]'"
        )


def reader(folder: Path) -> Any:
    """The folder, opened by onnxruntime.

    Raises:
        ImportError: onnxruntime is not here.
    """
    from vlp.interop.onnx.oracle import OnnxReader

    return OnnxReader(folder)


def _for_javascript(folder: Path) -> dict[str, Any]:
    """What transformers.js has to know before it opens files: which have their weights beside."""
    beside = sorted(path.name.removesuffix("_data") for path in folder.glob("*_data"))
    if not beside:
        return {}
    return {"transformers.js_config": {"use_external_data_format": dict.fromkeys(beside, True)}}
