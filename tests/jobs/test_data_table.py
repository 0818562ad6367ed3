"""The table of data, and `vlp data index`: what is no sample is said, a bad tar is not the last."""

import io
import json

import pytest
from rich.console import Console

from data_pipelines.opening import open_source
from data_pipelines.sources import ConcatSource, index_path
from data_pipelines.sources.survey import Stray, Survey
from tests.small.runs import picture, write_pairs
from vlp.cli.main import main
from vlp.jobs.data_checks import check_whole
from vlp.jobs.data_table import print_surveys, say_data


def printed(surveys, *, width=80):
    file = io.StringIO()
    print_surveys(surveys, console=Console(file=file, width=width))
    return file.getvalue()


def test_it_says_counts_and_findings_with_examples_within_80_columns():
    strays = (Stray("no dots in KEY", 64, "photo_000.v2.jpg"), Stray("hidden file", 1, "._a.jpg"))
    part = Survey("web", 12345, 3, 20, strays, image_example="a", caption_example="b")
    said = printed({"training": [part], "evaluation twemoji": [Survey("other", 5)]})
    assert max(map(len, said.splitlines())) <= 80
    words = " ".join(said.split())
    assert "training web 12,345 3 20 65" in words and "evaluation twemoji other 5" in words
    assert "web: 64 files belong to no sample, e.g. photo_000.v2.jpg: no dots in KEY" in words
    assert "web: 1 file belongs to no sample, e.g. ._a.jpg: hidden file" in words
    assert "web: no picture for 3 samples, e.g. a" in words
    assert "web: no caption for 20 samples, e.g. b" in words


def test_good_data_take_one_line_and_the_same_data_are_told_once():
    part = Survey("web", 5, 0, 0)
    assert len(printed({"training": [part]}).split("\n")) <= 6
    bad = Survey("web", 5, 1, 0, image_example="a")
    assert printed({"training": [bad], "same": [bad]}).count("no picture for") == 1


def test_names_of_data_are_neither_markup_nor_commands():
    part = Survey("[red]\x1b[2J", 1, strays=(Stray("[bold]x", 1, "[/red]"),))
    said = printed({"[link]": [part]})
    assert "[red]" in said and "[/red]: [bold]x" in said and "\x1b" not in said


def test_the_file_holds_the_same(tmp_path, capsys):
    write_pairs(tmp_path / "a.tar", replace=None)
    say_data({"training": open_source(tmp_path)}, file=tmp_path / "data.json")
    ((part,),) = json.loads((tmp_path / "data.json").read_text()).values()
    assert (part["name"], part["samples"], part["strays"]) == ("a", 36, [])
    assert "36" in capsys.readouterr().out


@pytest.mark.parametrize("form", ["FOLDER", "FOLDER/*.tar", "FOLDER/{0..1}.tar"])
def test_index_takes_folders_patterns_and_ranges_like_data(tmp_path, capsys, form):
    for i in range(2):
        write_pairs(tmp_path / f"{i}.tar", copies=1)
    assert main(["data", "index", form.replace("FOLDER", str(tmp_path))]) == 0
    said = capsys.readouterr().out
    assert f"{index_path(tmp_path)}: 2 tars, 2 of them read now" in said and "24" in said
    assert main(["data", "index", form.replace("FOLDER", str(tmp_path))]) == 0
    assert "2 tars, 0 of them read now" in capsys.readouterr().out


def test_index_goes_on_after_a_bad_tar_and_lists_it_at_the_end(tmp_path, capsys):
    for name in "adz":
        write_pairs(tmp_path / f"{name}.tar", copies=1)
    (tmp_path / "b.tar").write_bytes(b"<html>" * 200)
    (tmp_path / "c.tar").write_bytes((tmp_path / "a.tar").read_bytes()[:2000])
    assert main(["data", "index", str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert "2 of 5 tars are damaged" in said.err
    rows = {line.split()[0]: line for line in said.out.splitlines() if line.strip()}
    assert "is not a tar" in rows["b.tar"] and "is cut at byte 2000" in rows["c.tar"]
    assert f"{index_path(tmp_path)}: 5 tars" in said.out.replace("\n", "")


def test_index_of_what_is_no_tar_is_refused(tmp_path, capsys):
    (tmp_path / "a.png").write_bytes(picture("red", "dot"))
    assert main(["data", "index", str(tmp_path)]) == 1
    assert "must name tars or folders of tars" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [["eval", "--task=retrieval"], ["caption", "--out=OUT/c.jsonl"]],
    ids=["eval", "caption"],
)
def test_the_largest_picture_is_a_flag(tmp_path, capsys, command):
    data = write_pairs(tmp_path / "a.tar", copies=1)  # pictures of 20 by 20
    flags = [flag.replace("OUT", str(tmp_path)) for flag in command]
    flags += ["--model=none", f"--data={data}"]
    assert main([*flags, "--max-pixels=399"]) == 1
    assert "needs images that can be read, a has none: of 12 samples image too large 12" in (
        capsys.readouterr().err
    )
    assert main([*flags, "--max-pixels=400"]) == 1  # now it is the model that is not there
    assert "image too large" not in capsys.readouterr().err
    assert main([*flags, "--max-pixels=0"]) == 1
    assert "at least 1, got pixels 0" in capsys.readouterr().err


def test_files_that_are_gone_are_a_change_that_must_be_accepted(tmp_path, capsys):
    for name in "ab":
        write_pairs(tmp_path / f"{name}.tar", copies=1)
    assert main(["data", "index", str(tmp_path)]) == 0
    check_whole(open_source(tmp_path), accept_changes=False)
    (tmp_path / "b.tar").unlink()
    for source in (found := open_source(tmp_path), ConcatSource([found, found])):
        with pytest.raises(ValueError, match="b.tar; pass --accept-data-changes"):
            check_whole(source, accept_changes=False)
        check_whole(source, accept_changes=True)
    assert "1 file gone, e.g." in printed({"training": found.survey()})
    assert main(["data", "index", str(tmp_path)]) == 0
    assert "1 that are gone left out" in capsys.readouterr().out
    check_whole(open_source(tmp_path), accept_changes=False)
