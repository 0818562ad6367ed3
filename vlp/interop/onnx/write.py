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

from collections.abc import Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vlp.files import write_json
from vlp.interop.encoders import transformers_config
from vlp.interop.hf.write import cleaning, preprocessing, write_processors
from vlp.interop.loaded import Run
from vlp.interop.onnx.functions import onnx_files
from vlp.interop.portable import check_portable
from vlp.interop.readme import usage, write_readme
from vlp.interop.samples import EXAMPLE, EXAMPLE_TEXTS

__all__ = ["check_model", "cleaning", "preprocessing", "reader", "write"]

NEEDS = {"onnx": "onnx"}  # a package, and the extra that has it
OPSETS = (13, 23)
check_model = partial(check_portable, target="ONNX")
SUFFIXES = {"fp32": "", "fp16": "_fp16", "int8": "_quantized"}  # as transformers.js looks for them

_IMAGE = """\
mean, std = np.float32({mean}), np.float32({std})
pixels = (np.asarray(picture, np.float32) / 255 - mean) / std
image_model = onnxruntime.InferenceSession("onnx/{file}")
inputs = {{"pixel_values": pixels.transpose(2, 0, 1)[None]}}
image_embeds = image_model.run(["image_embeds"], inputs)[0]
"""
_TEXT = """\
text_model = onnxruntime.InferenceSession("onnx/{file}")
text_embeds = text_model.run(["text_embeds"], {{"input_ids": ids}})[0]
"""
_NOTES = (
    "Embeddings have unit norm: a dot product is a cosine. `last_hidden_state` holds the tokens.",
    "The batch may have any size. Texts may be padded to any length; no attention mask is needed.",
    "optimum opens this folder, FastEmbed takes `onnx/*.onnx` as `model_file`.",
)
_JAVASCRIPT = """
`onnx/{file}` holds both towers, for transformers.js:

```js
import {{ env, pipeline }} from '@huggingface/transformers';
env.allowRemoteModels = false;
env.localModelPath = './';
const classify = await pipeline('zero-shot-image-classification', '.', {{ dtype: '{dtype}' }});
console.log(await classify('{example}', {texts}));
```
"""
_DIFFERS = """\
transformers.js resizes pictures with another filter than this model was trained with, cuts long
  texts without an end token, and puts texts into "This is a photo of ..." unless told otherwise."""
DTYPES = {"model.onnx": "fp32", "model_fp16.onnx": "fp16", "model_quantized.onnx": "q8"}


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
    _write_readme(run, folder, files=files, metrics=metrics)


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


def _write_readme(
    run: Run, folder: Path, *, files: Sequence[str], metrics: Mapping[str, float] | None
) -> None:
    """How to use the files with onnxruntime alone, and with transformers.js."""
    image = next((name for name in files if name.startswith("vision")), None)
    text = next((name for name in files if name.startswith("text")), None)
    joint = next((name for name in files if name in DTYPES), None)
    towers = "both" if image and text else "image" if image else "text"
    normalise = dict(mean=list(run.model.image_mean), std=list(run.model.image_std))
    code = usage(
        run,
        "onnxruntime",
        towers=towers,
        dtype="int64",
        image=_IMAGE.format(file=image, **normalise),
        text=_TEXT.format(file=text),
    )
    more, notes = "", list(_NOTES)
    if joint:
        example = dict(example=EXAMPLE, texts=list(EXAMPLE_TEXTS))
        more = _JAVASCRIPT.format(file=joint, dtype=DTYPES[joint], **example)
        notes.append(_DIFFERS)
    texts: dict[str, Any] = dict(usage=code, more=more, notes=notes, metrics=metrics)
    write_readme(run, folder, title="ONNX encoders", **texts)
