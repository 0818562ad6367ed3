"""What --list prints: every set, what is there, and once how to get the others."""

import io

import pytest
from rich.console import Console

from vlp.sweeps.entry import Entry
from vlp.sweeps.listing import print_list

ENTRIES = [
    Entry("mnist", tasks=("classification",), metric="classification/top1", samples=10_000,
          chance=0.1, default_templates="mnist", licence="unknown", needs="copy it"),
    Entry("[bold]odd\x1b[2J", tasks=("retrieval",), needs="copy it"),
    Entry("vtab/dtd", tasks=("classification",), source="https://example.org"),
]  # fmt: skip


@pytest.fixture
def printed(tmp_path):
    (tmp_path / "wds_mnist/test").mkdir(parents=True)
    (tmp_path / "wds_mnist/test/nshards.txt").write_text("1")

    def lines(width):
        console = Console(width=width, file=io.StringIO(), color_system=None)
        print_list(ENTRIES, str(tmp_path), console=console)
        return console.file.getvalue().splitlines()

    return lines


@pytest.mark.parametrize("width", [60, 80, 120, 140, 200])
def test_no_line_is_longer_than_the_terminal_and_every_set_is_named(printed, width):
    found = printed(width)
    assert max(map(len, found)) <= width
    text = "\n".join(found)
    assert "mnist" in text and "clip_benchmark" in text and "vtab/dtd" in text
    assert "[bold]odd [2J" in text and "\x1b" not in text
    assert "1 of 3 sets are there" in text
    assert text.count("copy it") == 1 and text.count("https://example.org") == 1


def test_wider_terminals_say_more(printed):
    narrow, wide = (printed(width)[0].split() for width in (80, 140))
    assert narrow == ["set", "task", "pictures", "here"]
    assert {"metric", "chance", "templates", "licence"} < set(wide)
