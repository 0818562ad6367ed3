"""Charts: well-formed SVG, honest axes."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from vlp.evals.charts import (
    HEIGHT,
    MAX_POINTS,
    WIDTH,
    Line,
    line_chart,
    log_ticks,
    smooth,
    spread,
    thin,
    ticks,
)


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (0.013, 0.0171), (-3, 17), (1e6, 5e6), (2, 2), (0, 0), (-5, -5)]
)
def test_ticks_cover_the_values_in_few_even_steps(low, high):
    found = ticks(low, high, about=4)
    assert found[0] <= low <= high <= found[-1]
    assert 2 <= len(found) <= 8
    np.testing.assert_allclose(np.diff(found), found[1] - found[0], rtol=1e-6)


@pytest.mark.parametrize(
    "ys", [[1.0], [2.0, 2.0], [0.0, 0.0, 0.0], [3.0, 1.0, 7.5], [1e-9, 2e-9], [-4.0, 5.0]]
)
def test_every_point_lies_inside_a_well_formed_picture(ys):
    svg = line_chart([Line("a & b", list(range(len(ys))), ys)], label='a "chart"', from_zero=True)
    root = ElementTree.fromstring(svg)
    assert root.get("aria-label") == 'a "chart"'
    assert [text.text for text in root.iter("text")][-1] == "a & b"
    points = [p for line in root.iter("polyline") for p in line.get("points").split()]
    points += [f"{dot.get('cx')},{dot.get('cy')}" for dot in root.iter("circle")]
    assert len(points) == len(ys)
    for point in points:
        x, y = map(float, point.split(","))
        assert 0 <= x <= WIDTH and 0 <= y <= HEIGHT


def test_higher_values_are_drawn_higher():
    root = ElementTree.fromstring(line_chart([Line("", [0, 1, 2], [1.0, 3.0, 2.0])], label=""))
    (line,) = root.iter("polyline")
    a, b, c = (float(point.split(",")[1]) for point in line.get("points").split())
    assert b < c < a


def test_on_a_logarithmic_axis_equal_quotients_take_equal_room():
    line = Line("", [1e3, 1e4, 1e5], [0.1, 0.2, 0.3], marks=True)
    root = ElementTree.fromstring(line_chart([line], label="", log_x=True, unit="samples"))
    at = [float(dot.get("cx")) for dot in root.iter("circle")]
    assert at[1] - at[0] == pytest.approx(at[2] - at[1], abs=0.2) and at[0] < at[1]
    texts = [text.text for text in root.iter("text")]
    assert {"1k", "10k", "100k", "samples"} <= set(texts)


@pytest.mark.parametrize(
    ("low", "high", "found"),
    [
        (900, 120_000, [1e3, 3e3, 1e4, 3e4, 1e5]),
        (10, 60, [10, 20, 50]),
        (22_016, 155_648, [50_000, 100_000]),
        (5, 5, [5]),
    ],
)
def test_ticks_of_a_logarithmic_axis_are_round_and_few(low, high, found):
    assert log_ticks(low, high, about=4) == pytest.approx(found)
    assert 1 <= len(log_ticks(1, 10.0**20, about=4)) <= 8


def test_long_curves_are_thinned_to_means():
    n = 10 * MAX_POINTS
    line = thin(Line("x", list(range(n)), [i % 10 for i in range(n)]))
    assert len(line.xs) == len(line.ys) == MAX_POINTS
    assert set(line.ys) == {4.5}
    assert line.xs[:2] == [4.5, 14.5]


def test_smoothing_keeps_length_and_a_constant():
    assert smooth([2.0] * 7, width=5) == [2.0] * 7
    assert smooth([0.0, 3.0, 0.0], width=3) == [1.5, 1.0, 1.5]
    assert smooth([1.0, 5.0], width=1) == [1.0, 5.0]


def test_names_of_close_curves_are_moved_apart_in_their_order():
    got = spread([100.0, 101.0, 20.0, 99.0], apart=14)
    assert np.argsort(got).tolist() == [2, 3, 0, 1]
    assert np.diff(sorted(got)).min() >= 14 - 1e-9


def test_names_stay_inside_the_picture():
    assert max(spread([HEIGHT - 30.0] * 3, apart=14)) <= HEIGHT - 20
