"""Drawings of search results: a contact sheet as PNG, and pictures in a terminal."""

import io
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageColor, ImageDraw, ImageFont
from rich.columns import Columns
from rich.console import Console, Group
from rich.padding import Padding
from rich.text import Text

from vlp.evals.writing import plain
from vlp.files import write_bytes

Pixels = UInt8[np.ndarray, "_ _ _"]  # of any size: not every picture has the same
Scores = Sequence[float] | Float[np.ndarray, " n"]

COLUMNS = 5
TILE, GAP, MARGIN = 176, 24, 48
HEAD, CAPTION_LINES, LINE = 64, 3, 19
MAX_CAPTION = 2000  # more characters than a sheet could show; measuring them would take long
PAPER, INK, SOFT, RULE = "#fbfaf7", "#1d1c1a", "#6b6862", "#e5e2da"


def draw_results(
    images: Sequence[Pixels],
    captions: Sequence[str],
    scores: Scores,
    query: str,
    path: str | os.PathLike[str],
) -> tuple[int, int]:
    """Writes a PNG contact sheet: the query, then each image with its caption and score.

    Args:
      images: uint8 `[h,w,3]` or `[h,w,4]`, best first, of any sizes.
      captions: What each image is known as; "" where nothing is known.
      scores: Cosine similarities.
      query: The heading.
      path: PNG file, written whole or not at all.

    Returns:
      Width and height of the sheet in pixels.

    Raises:
      ValueError: If there are no images, or not as many captions and scores.
    """
    _check(images, captions, scores)
    columns = min(COLUMNS, len(images))
    rows = -(-len(images) // columns)
    cell = TILE + 12 + LINE * CAPTION_LINES + LINE
    # A sheet of one or two pictures is still wide enough for its heading.
    width = _width(max(3, columns))
    height = 2 * MARGIN + HEAD + rows * (cell + GAP) - GAP
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    heading = _wrap(f"“{query}”", _font(28), width - 2 * MARGIN, lines=1)[0]
    draw.text((MARGIN, MARGIN - 10), heading, INK, _font(28))
    for i, (image, caption, score) in enumerate(zip(images, captions, scores, strict=True)):
        left = MARGIN + i % columns * (TILE + GAP)
        top = MARGIN + HEAD + i // columns * (cell + GAP)
        box = (left, top, left + TILE - 1, top + TILE - 1)
        draw.rounded_rectangle(box, radius=10, fill="#ffffff", outline=RULE)
        picture = _fit(image, TILE - 24)
        x = left + (TILE - picture.width) // 2
        y = top + (TILE - picture.height) // 2
        sheet.paste(picture, (x, y))
        at = top + TILE + 12
        for line in _wrap(caption, _font(14), TILE, lines=CAPTION_LINES):
            draw.text((left, at), line, INK, _font(14))
            at += LINE
        draw.text((left, at), f"{score:.3f}", SOFT, _font(12))
    buffer = io.BytesIO()
    sheet.save(buffer, "png", optimize=True)
    write_bytes(path, buffer.getvalue())
    return sheet.size


def is_sheet(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a sheet of `draw_results`: a PNG of its width, on its paper."""
    widths = [_width(columns) for columns in range(3, COLUMNS + 1)]
    try:
        with Image.open(path, formats=["PNG"]) as sheet:
            if sheet.mode != "RGB" or sheet.width not in widths:
                return False
            return sheet.getpixel((0, 0)) == ImageColor.getrgb(PAPER)
    except (OSError, SyntaxError, Image.DecompressionBombError):  # no PNG, or not all of one
        return False


def print_images(
    images: Sequence[Pixels],
    captions: Sequence[str],
    scores: Scores,
    *,
    console: Console | None = None,
    width: int = 18,
) -> None:
    """Draws the images side by side in a terminal, two pixels a character cell, best first.

    Args:
      images: As in `draw_results`.
      captions: As in `draw_results`.
      scores: As in `draw_results`.
      console: Where to; a console without colour gets captions and scores only.
      width: Characters an image is wide, and half the lines it is high.
    """
    _check(images, captions, scores)
    console = console or Console()
    colour = console.color_system in ("truecolor", "256")
    cells = []
    for image, caption, score in zip(images, captions, scores, strict=True):
        words = Text(f"{score:.3f} ", style="dim").append(plain(caption), style="not dim")
        drawn = Group(half_blocks(image, width=width), words)
        cells.append(Padding(drawn, (0, 0, 1, 0)) if colour else words)
    if colour:
        console.print(Columns(cells, width=width, padding=(0, 2)))
    else:
        console.print(Group(*cells))


def half_blocks(image: Pixels, *, width: int) -> Text:
    """An image as upper half blocks: the text colour is the upper pixel, its ground the lower."""
    picture = _fit(image, width)
    pixels = np.full((width + width % 2, width, 3), 255, np.uint8)
    y, x = (width - picture.height) // 2, (width - picture.width) // 2
    pixels[y : y + picture.height, x : x + picture.width] = np.asarray(picture)
    text = Text(no_wrap=True)
    for upper, lower in zip(pixels[::2], pixels[1::2], strict=True):
        for a, b in zip(upper.tolist(), lower.tolist(), strict=True):
            text.append("▀", f"rgb({a[0]},{a[1]},{a[2]}) on rgb({b[0]},{b[1]},{b[2]})")
        text.append("\n")
    text.right_crop(1)
    return text


def _width(columns: int) -> int:
    return 2 * MARGIN + columns * (TILE + GAP) - GAP


def _check(images: Sequence[Pixels], captions: Sequence[str], scores: Scores) -> None:
    if not len(images) == len(captions) == len(scores) or not len(images):
        raise ValueError(
            "every image needs one caption and one score, and there must be one image, got "
            f"{len(images)} images, {len(captions)} captions, {len(scores)} scores"
        )


def _fit(image: Pixels, size: int) -> Image.Image:
    """The image on white, scaled so that its longer side is `size`."""
    picture = Image.fromarray(image)
    if picture.mode == "RGBA":
        paper = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(paper, picture).convert("RGB")
    scale = size / max(picture.size)
    fitted = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(fitted, Image.Resampling.LANCZOS)


def _wrap(text: str, font: ImageFont.FreeTypeFont, width: int, *, lines: int) -> list[str]:
    """The text in at most `lines` lines no wider than `width`, the last with … if it is cut."""
    words = plain(text[:MAX_CAPTION]).split(" ")
    done: list[str] = []
    line = ""
    while words:
        longer = f"{line} {words[0]}".strip()
        if font.getlength(longer) <= width:
            line = longer
            words.pop(0)
        elif line:
            done.append(line)
            line = ""
        else:
            word, sizes = words[0], range(len(words[0]), 1, -1)
            fitting = next((n for n in sizes if font.getlength(word[:n]) <= width), 1)
            done.append(word[:fitting])
            words[0] = word[fitting:]
        if len(done) == lines:
            rest = " ".join([line, *words]).strip()
            return done if not rest else [*done[:-1], _cut(done[-1], font, width)]
    return [*done, line] if line else done


def _cut(line: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    while line and font.getlength(f"{line}…") > width:
        line = line[:-1]
    return f"{line.rstrip()}…"


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(Path(__file__).with_name("fonts") / "DejaVuSans.ttf", size)
