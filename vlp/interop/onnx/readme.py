"""The README of an ONNX folder."""

from collections.abc import Mapping, Sequence

from vlp.interop.loaded import Run
from vlp.interop.readme import portable_readme, usage
from vlp.interop.samples import EXAMPLE, EXAMPLE_TEXTS

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


def readme(run: Run, *, files: Sequence[str], metrics: Mapping[str, float]) -> str:
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
    title = "ONNX encoders"
    return portable_readme(run, title=title, usage=code, more=more, notes=notes, metrics=metrics)
