"""Pictures and captions on which two implementations are compared: plain ones and hostile ones."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from data_pipelines.images import NaflexPreprocess
from vlp.interop.loaded import Run

EXAMPLE, EXAMPLE_TEXTS = "example.png", ("a red heart", "a cat")

# Plain captions, and what has been seen to come out differently elsewhere.
TEXTS = (
    "a photo of a cat",
    "A smiling face with heart-shaped eyes, on a white background",
    "don\u2019t \u201cquote\u201d \u2014 dash\u2026",
    "the \ufb01rst \ufb02oor of the of\ufb01ce",
    "Tom &amp; Jerry &lt;3 &#39;",
    "\u2764\ufe0f\u200d\U0001f525 \U0001f468\u200d\U0001f469\u200d\U0001f467 1\ufe0f\u20e3",
    "\xa9\ufe0f \xbd\ufe0f \u24c2\ufe0f",
    "\u65e5\u672c\u8a9e \uff76\uff9e\uff77\uff9e \uac00\ub098 \u1100\u1161",
    "na\xefve cafe\u0301 Stra\xdfe \u0130stanbul \u03a3\u0391\u03a3 \uff21\uff22\uff5e",
    "",
    "word " * 300,
    "   two  spaces \t tab\nline ",
    "</s> <pad> <unk> <0x41> <end of text>",
    "\u2581leading \u2581mark\u2581",
    "\u0645\u0631\u062d\u0628\u0627 \u05e9\u05dc\u05d5\u05dd \u200bzero\u200cwidth\ufeff",
    "x" * 500,
)


def sample_images(size: int) -> Iterator[Image.Image]:
    """Opaque pictures with edges, noise and slopes: wide, high, tiny, fitting and very long."""
    shapes = ((3 * size, 2 * size), (size + 7, 3 * size + 2), (size // 2 + 1, size // 3 + 1))
    random = np.random.default_rng(0)
    for width, height in (*shapes, (size, size), (8 * size, size + 3)):
        rows, columns = np.mgrid[:height, :width]
        slope = np.stack([rows / height, columns / width, (rows // 5 + columns // 5) % 2], axis=-1)
        noise = random.integers(-40, 40, (height, width, 3))
        yield Image.fromarray((slope * 255 + noise).clip(0, 255).astype(np.uint8))


def write_example(run: Run, folder: Path) -> None:
    """Writes the picture that the README of an export shows: a red heart, of a size at which no
    stack resizes it, so that all of them see the same pixels."""
    used, tower = run.preprocess, run.model.image
    if isinstance(used, NaflexPreprocess):
        side = used.patch_size * math.isqrt(used.max_num_patches)
    else:
        side = tower.image_size if used is None else used.resize_size
    heart(side).save(folder / EXAMPLE)


def heart(side: int) -> Image.Image:
    """A red heart on white, with soft edges."""
    x = np.linspace(-1.4, 1.4, 4 * side)
    down, across = x[:, None] - 0.1, x[None, :]
    inside = (across**2 + down**2 - 1) ** 3 + across**2 * down**3 < 0
    share = inside.reshape(side, 4, side, 4).mean(axis=(1, 3))[..., None]
    red, white = np.asarray([221, 46, 68]), np.asarray([255, 255, 255])
    return Image.fromarray((share * red + (1 - share) * white).round().astype(np.uint8))
