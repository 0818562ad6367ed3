"""The README of an exported folder: how to use it, what it was compared with, whose work it is."""

import re
from collections.abc import Mapping
from typing import Any

from vlp.interop.loaded import Run
from vlp.interop.readme import figures_and_licence
from vlp.interop.samples import EXAMPLE, EXAMPLE_TEXTS

_TEMPLATE = """\
---
license: {licence_id}
library_name: transformers
pipeline_tag: {task}
---
# {title}

{origin}

```python
{usage}
```
{metrics}
## What to know

- `parity.json` says how far embeddings, hidden states and logits agree with the model this was
  exported from, and in which library that was measured.
{notes}

## Licence and attribution

{licence}
"""
_USAGE = """\
import torch
{pillow}from transformers import {classes}

model = {model_class}.from_pretrained({source}).eval()
{inputs}
with torch.inference_mode():
    {call}
print({shown})"""
_INPUTS = {
    "both": (
        "AutoProcessor",
        f"""\
processor = AutoProcessor.from_pretrained(".")
inputs = processor(text={list(EXAMPLE_TEXTS)}, images=Image.open("{EXAMPLE}").convert("RGB"),
                   padding="max_length", truncation=True, return_tensors="pt")""",
    ),
    "image": (
        "AutoImageProcessor",
        f"""\
processor = AutoImageProcessor.from_pretrained(".")
inputs = processor(images=Image.open("{EXAMPLE}").convert("RGB"), return_tensors="pt")""",
    ),
    "text": (
        "AutoTokenizer",
        f"""\
tokenizer = AutoTokenizer.from_pretrained(".")
inputs = tokenizer({list(EXAMPLE_TEXTS)}, padding="max_length", truncation=True,
                   return_tensors="pt")""",
    ),
}
_IDS = """\
inputs["input_ids"] = torch.ones(2, {length}, dtype=int)  # of your tokenizer: here is none"""
_UNIT = "torch.nn.functional.normalize(embeds, dim=-1)"
_RESIZE = """\
- With torchvision installed, transformers resizes pictures with it, up to some levels of 255 away
  from what the model was trained with. For the same pixels:
  `AutoImageProcessor.from_pretrained(".", backend="pil")`.
- Transparent pictures: training put them on {background}. transformers 5 puts them on white,
  version 4 drops the transparency and shows the hidden colours. Flatten such pictures before.
- Pictures turned by EXIF have to be turned upright first (`PIL.ImageOps.exif_transpose`)."""
_LENGTH = """\
- Texts are {length} tokens long: `padding="max_length", truncation=True` makes them so."""
_CLEANED = """\
- CLIP's own tokenizer repairs text first (ftfy, HTML entities such as `&amp;`); `CLIPTokenizer`
  does not. Repair such texts before to get the same ids."""


def readme(
    run: Run, *, config: Mapping[str, Any], metrics: Mapping[str, float], cleaned: bool = False
) -> str:
    """The text, in Markdown, with the metadata that model hubs read.

    Args:
        run: what was exported.
        config: the content of config.json.
        metrics: figures by name.
        cleaned: whether our tokenizer does more to texts than the exported one.
    """
    tower = _tower(config)
    background = getattr(run.preprocess, "background", (255, 255, 255))
    notes = []
    if tower != "text":
        colour = "white" if background == (255, 255, 255) else f"the colour {background}"
        notes.append(_RESIZE.format(background=colour))
    if tower != "image" and run.tokenizer is not None:
        notes.append(_LENGTH.format(length=run.card["tokenizer"]["length"]))
        notes += [_CLEANED] if cleaned else []
    licence = run.card["licence"]
    return _TEMPLATE.format(
        title=f"{run.folder.name}: {_TITLES[tower].format(run.card['objective'].upper())}",
        licence_id=licence if re.fullmatch(r"[a-z0-9.-]+", licence) else "other",
        task={"both": "zero-shot-image-classification", "image": "image-feature-extraction"}.get(
            tower, "feature-extraction"
        ),
        origin=_origin(run),
        usage=_usage(run, config["architectures"][0], tower),
        notes="\n".join(notes),
        **figures_and_licence(run, metrics),
    )


def _usage(run: Run, model_class: str, tower: str) -> str:
    """Python for a class: what goes in, and the probabilities, cosines or embeddings shown."""
    kind, inputs = _inputs(run, tower)
    source = '"."'
    call, shown = "logits = model(**inputs).logits_per_image", "logits.softmax(-1)"
    if tower != "both":
        output = f"{tower}_embeds" if model_class.endswith("WithProjection") else "pooler_output"
        if model_class in ("ViTModel", "BertModel") and not run.model.kwargs[tower].get("pooler"):
            source, output = '".", add_pooling_layer=False', "last_hidden_state[:, 0]"
        call, shown = f"embeds = model(**inputs).{output}", _UNIT
    elif model_class == "BlipForConditionalGeneration":
        kind, inputs = _INPUTS["image"]
        call, shown = "ids = model.generate(**inputs)", "ids"
        if run.tokenizer is not None:
            kind = "AutoImageProcessor, AutoTokenizer"
            shown = 'AutoTokenizer.from_pretrained(".").batch_decode(ids, skip_special_tokens=True)'
    elif model_class == "BlipForImageTextRetrieval":
        call, shown = "cosines = model(**inputs, use_itm_head=False).itm_score", "cosines"
    elif model_class == "Blip2ForImageTextRetrieval":
        call, shown = call.replace("logits", "cosines", 1), "cosines"
    elif "iglip" in model_class:
        shown = "logits.sigmoid()"
    classes = ", ".join(filter(None, (kind, model_class)))
    pillow = "" if tower == "text" else "from PIL import Image\n"
    parts = dict(pillow=pillow, source=source, inputs=inputs, call=call, shown=shown)
    return _USAGE.format(classes=classes, model_class=model_class, **parts)


def _inputs(run: Run, tower: str) -> tuple[str, str]:
    """The classes that make a model's inputs, and the code that does."""
    if tower == "image" or run.tokenizer is not None:
        return _INPUTS[tower]
    ids = _IDS.format(length=run.model.text.length)
    if tower == "text":
        return "", f"inputs = {{}}\n{ids}"
    kind, code = _INPUTS["image"]
    return kind, f"{code}\n{ids}"


_TITLES = {
    "both": "{} image and text encoders",
    "image": "{} image encoder",
    "text": "{} text encoder",
}


def _tower(config: Mapping[str, Any]) -> str:
    if "vision_config" in config:
        return "both"
    return "image" if "patch_size" in config else "text"


def _origin(run: Run) -> str:
    made_by = f"vlp {run.card['vlp']}"
    if run.step == 0:
        return f"Encoders converted with {made_by}."
    return (
        f"A dual encoder trained with {made_by}: {run.step} updates, "
        f"objective {run.card['objective']}."
    )
