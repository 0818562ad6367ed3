"""The README beside exported files: how to use them, on a picture beside it, and whose work they
are. Its Python runs as it is written, in the folder, with the target's own libraries."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from data_pipelines.images import ImagePreprocess
from vlp.files import write_text
from vlp.interop.loaded import Run
from vlp.interop.samples import EXAMPLE, EXAMPLE_TEXTS

_TEMPLATE = """\
# {title}

Encoders exported by vlp {vlp}{trained}.

```python
{usage}
```
{more}{metrics}
## What to know

{notes}
- `parity.json` says how far these files agree with the model they were exported from, and in which
  library that was measured.

## Licence and attribution

{licence}
"""
_RESIZES = {
    "squash": "picture = picture.resize(({size}, {size}), {filter})",
    "shortest": """\
scaled = [int({size} * side / min(picture.size)) for side in picture.size]
picture = picture.resize(scaled, {filter})""",
    "longest": "picture = ImageOps.pad(picture, ({size}, {size}), {filter}, color={fill})",
}
_CENTRES = {"down": "(side - {size}) // 2", "even": "round((side - {size}) / 2)"}
_CROP = """\
left, top = ({centre} for side in picture.size)
picture = picture.crop((left, top, left + {size}, top + {size}))"""
_IDS = """\
texts = {texts}
rows = tokenizers.Tokenizer.from_file("tokenizer.json").encode_batch(texts)
ids = np.asarray([row.ids for row in rows], np.{dtype})
"""
_NO_TOKENIZER = """\
ids = np.ones((2, {length}), np.{dtype})  # of your tokenizer: the model came without one
"""


def write_readme(
    run: Run,
    folder: Path,
    *,
    title: str,
    usage: str,
    notes: Sequence[str],
    metrics: Mapping[str, float] | None,
    more: str = "",
) -> None:
    """Writes README.md.

    Args:
        run: what was exported.
        folder: where to.
        title: what the files are.
        usage: Python that runs in the folder.
        notes: what users have to know, in Markdown.
        metrics: figures by name.
        more: what comes after it, in Markdown.
    """
    text = _TEMPLATE.format(
        title=f"{run.folder.name}: {title}",
        vlp=run.card["vlp"],
        trained=f" after {run.step} updates" if run.step else "",
        usage=usage.strip(),
        more=more,
        notes="\n".join(f"- {note}" for note in notes),
        **figures_and_licence(run, metrics or {}),
    )
    write_text(folder / "README.md", text)


def figures_and_licence(run: Run, metrics: Mapping[str, float]) -> dict[str, str]:
    """The table of `metrics`, or nothing, and the list under `licence`, for every README."""
    figures = "".join(f"| {name} | {value:.4g} |\n" for name, value in metrics.items())
    lines = [f"Licence: {run.card['licence']}.", *run.card["attribution"].splitlines()]
    return {
        "metrics": f"\n| Metric | Value |\n| --- | --- |\n{figures}" if figures else "",
        "licence": "\n".join(f"- {line}" for line in lines),
    }


def usage(
    run: Run,
    *stack: str,
    towers: str,
    dtype: str,
    load: str = "",
    image: str,
    text: str,
) -> str:
    """Python that embeds a picture, two texts, or both, and prints what comes out.

    Args:
        run: what was exported.
        *stack: the modules to import.
        towers: "both", "image" or "text".
        dtype: NumPy's name of what the text tower takes.
        load: what stands before.
        image: code that makes `image_embeds` of `picture`.
        text: code that makes `text_embeds` of `ids`.
    """
    code = _imports(*stack, towers=towers) + load
    if towers != "text":
        code += f"\n{_picture(run)}{image}"
    if towers != "image":
        code += f"\n{_ids(run, dtype=dtype)}{text}"
    return code + shown(towers)


def _imports(*names: str, towers: str) -> str:
    """The lines that import NumPy, a stack, and what a picture and ids need."""
    pillow = ["PIL"] if towers != "text" else []
    tokens = ["tokenizers"] if towers != "image" else []
    lines = [f"import {name}" for name in (*names, *tokens)]
    lines += ["from PIL import Image, ImageOps"] if pillow else []
    return "\n".join(["import numpy as np", *lines]) + "\n"


def _picture(run: Run) -> str:
    """Code that makes `picture`, of the model's size, from any picture: by default the example."""
    size, used = run.model.image.image_size, run.preprocess
    if not isinstance(used, ImagePreprocess):
        used = ImagePreprocess(size)
    pillow = used.interpolation.partition("_")[0].upper()  # of "bilinear_tensorflow" the nearest
    settings = dict(size=used.resize_size, filter=f"Image.Resampling.{pillow}", fill=used.fill)
    lines = [
        f'picture = ImageOps.exif_transpose(Image.open("{EXAMPLE}")).convert("RGB")',
        _RESIZES[used.resize].format(**settings),
    ]
    if used.resize == "shortest" or used.resize_size != size:
        centre = _CENTRES[used.rounding].format(size=size)
        lines.append(_CROP.format(centre=centre, size=size))
    return "\n".join(lines) + "\n"


def _ids(run: Run, *, dtype: str) -> str:
    """Code that makes `ids` of two texts, by the folder's tokenizer if there is one."""
    if run.tokenizer is None:
        return _NO_TOKENIZER.format(length=run.model.text.length, dtype=dtype)
    return _IDS.format(texts=list(EXAMPLE_TEXTS), dtype=dtype)


def shown(towers: str) -> str:
    """Code that prints the cosines of pictures and texts, or the embeddings of one tower."""
    if towers == "both":
        return "print(image_embeds @ text_embeds.T)  # cosines: a row a picture, a column a text\n"
    return f"print({towers}_embeds)\n"
