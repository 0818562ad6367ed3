"""The README of an exported folder: how to use it, what it was compared with, whose work it is."""

import re
from collections.abc import Mapping

from vlp.interop.load import Run

_TEMPLATE = """\
---
license: {licence_id}
library_name: transformers
pipeline_tag: zero-shot-image-classification
---
# {title}

A dual encoder trained with vlp {vlp}: {updates} updates, objective {objective}.

```python
from PIL import Image
from transformers import {model_class}, {processor_class}
model, processor = {model_class}.from_pretrained("."), {processor_class}.from_pretrained(".")
inputs = processor(text=["a cat", "a red heart"], images=Image.open("cat.png").convert("RGB"),
                   padding="max_length", truncation=True, return_tensors="pt")
print(model(**inputs).logits_per_image{activation})
```
{metrics}
## What to know

- `parity.json` says how far embeddings and logits agree with the model this was exported from, and
  in which library that was measured.
- With torchvision installed, transformers resizes pictures with it, up to some levels of 255 away
  from what the model was trained with. For the same pixels:
  `processor.image_processor = AutoImageProcessor.from_pretrained(".", backend="pil")`.
- Texts are {length} tokens long: `padding="max_length", truncation=True` gives what was trained on.
- Transparent pictures: training put them on {background}. transformers 5 puts them on white,
  version 4 drops the transparency and shows the hidden colours. Flatten such pictures before.
- Pictures turned by EXIF have to be turned upright first (`PIL.ImageOps.exif_transpose`).

## Licence and attribution

{licence}
"""


def readme(
    run: Run, *, model_class: str, processor_class: str, metrics: Mapping[str, float]
) -> str:
    """The text, in Markdown, with the metadata that model hubs read."""
    licence = run.card["licence"]
    figures = "".join(f"| {name} | {value:.4g} |\n" for name, value in metrics.items())
    lines = [f"Licence: {licence}.", *run.card["attribution"].splitlines()]
    background = run.preprocess.background
    return _TEMPLATE.format(
        title=f"{run.folder.name}: {run.card['objective'].upper()} image and text encoders",
        licence_id=licence if re.fullmatch(r"[a-z0-9.-]+", licence) else "other",
        vlp=run.card["vlp"],
        updates=run.step,
        objective=run.card["objective"],
        model_class=model_class,
        processor_class=processor_class,
        activation=".sigmoid()" if model_class == "SiglipModel" else ".softmax(-1)",
        metrics=f"\n| Metric | Value |\n| --- | --- |\n{figures}" if figures else "",
        length=run.card["tokenizer"]["length"],
        background="white" if background == (255, 255, 255) else f"the colour {background}",
        licence="\n".join(f"- {line}" for line in lines),
    )
