"""What `vlp data` shows while it works."""

import re
import time

import pytest

from tests.small.runs import write_pairs
from vlp.cli import data_progress
from vlp.cli.data_progress import indexed, parts_in, showing


@pytest.fixture(autouse=True)
def often(monkeypatch):
    monkeypatch.setattr(data_progress, "LOOK_S", 0.01)
    monkeypatch.setattr(data_progress, "LINE_S", 0.02)


def until(said, capsys):
    """All that was said until that was."""
    found, end = "", time.monotonic() + 20
    while not re.search(said, found):
        assert time.monotonic() < end, found
        time.sleep(0.01)
        found += capsys.readouterr().err
    return found


def test_lines_say_how_many_parts_are_whole(tmp_path, capsys):
    folder = tmp_path / "facts"
    with showing("reading", total=3, done=lambda: parts_in(folder)):
        until(r"^reading: 0 of 3 parts, \d+ s$", capsys)
        folder.mkdir()
        (folder / "00000.parquet").touch()
        (folder / ".00001.parquet.01.partial").touch()
        until(r"(?m)^reading: 1 of 3 parts, \d+ s$", capsys)
    with showing("counting"):
        until(r"^counting: \d+ s$", capsys)


def test_a_terminal_has_a_bar_and_what_is_raised_ends_it(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with pytest.raises(ValueError, match="no"), showing("reading", total=1234, done=lambda: 617):
        until("reading.*617/1234.*parts", capsys)
        raise ValueError("no")


def test_indexing_is_shown(tmp_path, capsys, monkeypatch):
    tars = [write_pairs(tmp_path / f"{n}.tar") for n in range(2)]
    (built,) = indexed(tars)
    assert (len(built.tars), built.scanned) == (2, 2) and built.path.is_file()
