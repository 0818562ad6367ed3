"""The README of an exported folder: how to use it, what it was compared with, whose work it is."""

import re
from collections.abc import Mapping
from typing import Any

from vlp.interop.load import Run

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
_PAIR = """\
from PIL import Image
from transformers import {model_class}, AutoProcessor
model, processor = {model_class}.from_pretrained("."), AutoProcessor.from_pretrained(".")
inputs = processor(text=["a cat", "a red heart"], images=Image.open("cat.png").convert("RGB"),
                   padding="max_length", truncation=True, return_tensors="pt")
print(model(**inputs).logits_per_image{activation})"""
_IMAGE = """\
from PIL import Image
from transformers import {model_class}, AutoImageProcessor
model, processor = {model_class}.from_pretrained("."), AutoImageProcessor.from_pretrained(".")
inputs = processor(images=Image.open("cat.png").convert("RGB"), return_tensors="pt")
print(model(**inputs))"""
_TEXT = """\
from transformers import {model_class}, AutoTokenizer
model, tokenizer = {model_class}.from_pretrained("."), AutoTokenizer.from_pretrained(".")
inputs = tokenizer(["a cat"], padding="max_length", truncation=True, return_tensors="pt")
print(model(**inputs))"""
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
    model_class = config["architectures"][0]
    tower = _tower(config)
    usage = {"both": _PAIR, "image": _IMAGE, "text": _TEXT}[tower]
    background = getattr(run.preprocess, "background", (255, 255, 255))
    notes = []
    if tower != "text":
        colour = "white" if background == (255, 255, 255) else f"the colour {background}"
        notes.append(_RESIZE.format(background=colour))
    if tower != "image" and run.tokenizer is not None:
        notes.append(_LENGTH.format(length=run.card["tokenizer"]["length"]))
        notes += [_CLEANED] if cleaned else []
    licence = run.card["licence"]
    figures = "".join(f"| {name} | {value:.4g} |\n" for name, value in metrics.items())
    lines = [f"Licence: {licence}.", *run.card["attribution"].splitlines()]
    return _TEMPLATE.format(
        title=f"{run.folder.name}: {_TITLES[tower].format(run.card['objective'].upper())}",
        licence_id=licence if re.fullmatch(r"[a-z0-9.-]+", licence) else "other",
        task={"both": "zero-shot-image-classification", "image": "image-feature-extraction"}.get(
            tower, "feature-extraction"
        ),
        origin=_origin(run),
        usage=usage.format(
            model_class=model_class,
            activation=".sigmoid()" if "iglip" in model_class else ".softmax(-1)",
        ),
        metrics=f"\n| Metric | Value |\n| --- | --- |\n{figures}" if figures else "",
        notes="\n".join(notes),
        licence="\n".join(f"- {line}" for line in lines),
    )


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
