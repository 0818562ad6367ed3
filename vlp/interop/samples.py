"""Pictures and captions on which two implementations are compared: plain ones and hostile ones."""

from collections.abc import Iterator

import numpy as np
from PIL import Image

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
