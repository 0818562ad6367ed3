"""Search by a sentence, and the drawings of what it found."""

import io

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from vlp.evals import draw
from vlp.evals.search import check_query, nearest


def pictures():
    rng = np.random.default_rng(0)
    shapes = [(64, 64, 4), (1, 1, 3), (30, 300, 3), (300, 20, 3), (5, 7, 3), (64, 64, 3)]
    return [rng.integers(0, 256, shape, dtype=np.uint8) for shape in shapes]


def opened(path):
    with Image.open(path) as image:
        return np.asarray(image)


CAPTIONS = ["", "x" * 5000, "a\nb\x1b[2J " * 400, "日本 ünï <b>&", "\ud83d half", "red heart"]
ZIMG = np.array([[0.1, 0.9], [0.9, 0.1], [0.5, 0.5]], np.float32)


@pytest.mark.parametrize(("top", "expected"), [(2, [1, 2]), (10, [1, 2, 0])])
def test_the_nearest_images_come_first(top, expected):
    rows, scores = nearest(ZIMG, np.array([1.0, 0.0], np.float32), top=top)
    assert rows.tolist() == expected
    assert scores.tolist() == ZIMG[expected, 0].tolist()


def test_a_search_without_words_or_results_is_refused():
    with pytest.raises(ValueError, match="needs words"):
        check_query("  ", top=10)
    with pytest.raises(ValueError, match="top must be at least 1, got 0"):
        check_query("heart", top=0)


@pytest.mark.parametrize(("n", "columns", "rows"), [(1, 3, 1), (4, 4, 1), (5, 5, 1), (6, 5, 2)])
def test_a_sheet_has_room_for_every_picture(tmp_path, n, columns, rows):
    path = tmp_path / "sheet.png"
    size = draw.draw_results(pictures()[:n], CAPTIONS[:n], [0.5] * n, "a query " * 40, path)
    assert opened(path).shape == (size[1], size[0], 3)
    cell = draw.TILE + 12 + draw.LINE * (draw.CAPTION_LINES + 1)
    assert size[0] == 2 * draw.MARGIN + columns * (draw.TILE + draw.GAP) - draw.GAP
    assert size[1] == 2 * draw.MARGIN + draw.HEAD + rows * (cell + draw.GAP) - draw.GAP


def test_a_sheet_leaves_its_margins_empty(tmp_path):
    path = tmp_path / "sheet.png"
    draw.draw_results(pictures(), CAPTIONS, [0.5] * 6, "q" * 500, path)
    sheet = opened(path)
    for edge in (sheet[:20], sheet[-20:], sheet[:, : draw.MARGIN - 4], sheet[:, 4 - draw.MARGIN :]):
        assert (edge == sheet[0, 0]).all()


def test_a_picture_keeps_its_colour_on_the_sheet(tmp_path):
    path = tmp_path / "sheet.png"
    red = np.zeros((10, 10, 4), np.uint8) + np.array([200, 30, 40, 255], np.uint8)
    draw.draw_results([red], ["red"], [1.0], "red", path)
    middle = draw.MARGIN + draw.HEAD + draw.TILE // 2
    assert opened(path)[middle, draw.MARGIN + draw.TILE // 2].tolist() == [200, 30, 40]


def test_every_wrapped_line_fits_and_a_cut_is_shown():
    font = draw._font(14)
    for text in (*CAPTIONS, "one two three four five six seven eight nine ten"):
        lines = draw._wrap(text, font, 80, lines=3)
        assert len(lines) <= 3
        assert all(font.getlength(line) <= 80 for line in lines)
    assert lines[-1].endswith("…")
    assert draw._wrap("one two", font, 400, lines=3) == ["one two"]


def test_unequal_lists_are_refused(tmp_path):
    for images, captions in ((pictures(), ["one"]), ([], [])):
        with pytest.raises(ValueError, match="one caption and one score"):
            draw.draw_results(images, captions, [0.1] * len(captions), "q", tmp_path / "s.png")


def test_half_blocks_carry_two_pixels_a_character():
    image = np.arange(2 * 2 * 3, dtype=np.uint8).reshape(2, 2, 3)
    text = draw.half_blocks(image, width=2)
    assert text.plain == "▀▀"
    assert [str(span.style) for span in text.spans] == [
        "rgb(0,1,2) on rgb(6,7,8)",
        "rgb(3,4,5) on rgb(9,10,11)",
    ]


def test_transparent_pixels_are_drawn_white():
    clear = np.zeros((2, 2, 4), np.uint8)
    assert "rgb(255,255,255)" in str(draw.half_blocks(clear, width=2).spans[0].style)


@pytest.mark.parametrize("width", [5, 8])
def test_a_terminal_gets_pictures_in_colour_and_words_elsewhere(width):
    outputs = []
    for colour in ("truecolor", None):
        file = io.StringIO()
        console = Console(file=file, force_terminal=True, color_system=colour, width=60)
        draw.print_images(pictures(), CAPTIONS, [0.25] * 6, console=console, width=width)
        outputs.append(file.getvalue())
    coloured, bare = outputs
    assert "▀" in coloured and "\x1b[38;2;" in coloured and "\x1b[2J" not in coloured
    assert "▀" not in bare and "0.250 red heart" in bare and "\x1b" not in bare
