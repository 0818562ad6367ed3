"""Pages about plans: whole, self-contained, and saying what the plan says."""

import dataclasses
import re
from html.parser import HTMLParser

import pytest

from tests.plans import ESTIMATE, MARKUP, plan
from vlp.planning.feeding import DECODED_A_SECOND, feed
from vlp.planning.frontier import Tried, best
from vlp.planning.frontier_page import frontier_page
from vlp.planning.page import plan_page
from vlp.planning.plan import Memory
from vlp.planning.saying import Run, by_source, exchanges, short_source, summary

VOID = {"meta", "link", "br"}


class Balanced(HTMLParser):
    """Fails on a tag that closes what is not open, or on one that is left open."""

    def __init__(self):
        super().__init__()
        self.open, self.text, self.loads = [], [], []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        self.loads += [value for name, value in attrs if name in ("src", "href")]

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def read(page):
    parser = Balanced()
    parser.feed(page)
    assert parser.open == [] and parser.loads == ["data:,"]
    return " ".join(" ".join(parser.text).split())


RUN = Run(steps=1_728_000, price=2.0)


def test_a_page_asks_the_network_for_nothing_and_says_what_the_plan_says():
    said = read(plan_page(plan(), RUN, config="a.py", source="https://example.org"))
    for wanted in (
        "4.00 GB", "of 8.00 GB", "100.0 ms", "10,000", "2.00 days", "768 in all", "all-gather",
        "vlp/nn/linear.py:39", "4.00 GB left", "160.0 ms", "50% of the FLOPs",
        "40.0 ms",
    ):  # fmt: skip
        assert wanted in said, wanted


def test_what_a_page_is_given_is_text_and_no_markup():
    page = plan_page(plan(), RUN, config=MARKUP, source=MARKUP)
    assert "<script" not in page and "alert(" in read(page)


def test_a_page_of_what_does_not_fit_says_by_how_much_and_gives_no_time():
    too_large = plan(temporary=10**10, estimate=None, collectives=(), findings=())
    page = plan_page(too_large, RUN, config="a.py", source="")
    said = read(page)
    assert "does not fit" in said and "5.00 GB more than there is" in said
    assert " ms" not in said and "days" not in said
    (limit,) = re.findall(r'class="limit" style="left:([\d.]+)%"', page)
    assert float(limit) == pytest.approx(100 * 8 / 13.001, abs=0.01)


def test_bars_of_memory_are_as_wide_as_their_share_of_the_chip():
    page = plan_page(plan(), RUN, config="", source="")
    bar = page[page.index('<div class="stack">') :]
    widths = re.findall(r'class="s\d" style="width:([\d.]+)%"', bar[: bar.index("</div>")])
    assert [float(width) for width in widths] == pytest.approx([12.5, 25, 0.013, 12.5], abs=1e-3)


def test_pieces_of_one_place_are_one_and_bound_by_their_longest():
    whole = {piece.source: piece for piece in by_source(ESTIMATE)}
    norm = whole["vlp/nn/norm.py:25"]
    assert (norm.seconds, norm.bytes, norm.bound) == (pytest.approx(0.04), 9e10, "memory")
    assert short_source("/a/vlp/b/vlp/c.py:3") == "vlp/c.py:3" and short_source("") == ""


def test_exchanges_tell_what_of_them_is_hidden():
    ((*_, alone, hidden),) = exchanges(plan())
    assert (alone, hidden) == ("4.00", "4.00")


def test_what_goes_in_follows_the_pace_and_the_fields():
    found = feed(plan(), bytes_a_picture=1e5)
    assert found.pictures == pytest.approx(10_000) and found.stored == pytest.approx(1e9)
    assert found.moved == pytest.approx(10_000 * (150_528 + 308 + 4 + 8))
    assert found.cores == pytest.approx(10_000 / DECODED_A_SECOND) and found.hosts == 2
    vectors = feed(plan(fields={"teacher/image_embedding": 1024, "text": 308}))
    assert vectors.cores == 0 and vectors.stored == pytest.approx(10_000 * 1024)
    said = dict(summary(plan(), Run(steps=1, bytes_a_picture=1e5)))
    assert "at 100 kB a picture" in said["from storage"] and "2 hosts" in said["decoding"]


def tried(memory, seconds, capacity=10.0):
    """A point of so many GB and so many seconds a step."""
    estimate = dataclasses.replace(ESTIMATE, compute=seconds, exposed=0.0)
    size = round(memory * 1e9)
    found = plan(estimate=estimate, memory=Memory(0, 0, 0, 0, 0, 0, size, capacity=capacity * 1e9))
    return Tried({"batch": 1000, "remat": "none"}, found, RUN)


POINTS = [
    tried(2, 1.0),
    tried(4, 0.5),
    tried(4, 0.8),  # slower than the one before
    tried(9, 0.5),  # larger than the second
    tried(11, 0.1),  # does not fit
    Tried({"batch": 2000, "remat": "none"}, why="no such batch <b>"),
]


def test_the_best_are_those_that_no_other_beats_in_memory_and_pace():
    assert best(POINTS) == {0, 1}
    assert best(POINTS[::-1]) == {4, 5}
    assert best([POINTS[5]]) == set()


def test_of_points_alike_none_beats_the_other():
    assert best([POINTS[1], POINTS[1]]) == {0, 1}


@pytest.mark.parametrize("points", [POINTS, POINTS[5:]])
def test_a_page_on_a_walk_has_a_row_for_every_point_and_why_one_failed(points):
    page = frontier_page(points, topology="h100:8", config="a.py")
    said = read(page)
    assert page.count("<tr") == 1 + len(points) and "no such batch <b>" in said
    assert page.count("<circle") == sum(each.plan is not None for each in points)
    assert page.count('circle class="best"') == len(best(points))
