"""What a command writes replaces nothing but an earlier file of its own kind."""

import argparse

import numpy as np
import pytest
from PIL import Image

from tests.cli.test_flags import FLAGS
from tests.cli.test_refusals import refusal
from vlp.cli.main import _command_parsers
from vlp.evals.draw import draw_results
from vlp.evals.results import make_result
from vlp.files import write_json
from vlp.jobs.outputs import RESULT, SHEET, TOKENIZER, check_output

WRITING = {
    "eval": ("--task=retrieval", "--out", ".json"),
    "search": ("words", "--out", ".png"),
    "caption": ("--out={}.jsonl", "--sheet", ".png"),
    "data": ("tokenizer", "--out", ".model"),
}


def arguments(command, flag, path):
    more, *_ = WRITING[command]
    model = () if command == "data" else ("--model=nowhere",)
    return (command, more.format(path), *model, "--data=nowhere.tar", f"{flag}={path}")


@pytest.mark.parametrize("command", WRITING)
def test_a_foreign_file_is_refused_before_any_work_and_stays(tmp_path, capsys, command):
    _, flag, suffix = WRITING[command]
    for name in ("data.tar", "picture.jpg", f"mine{suffix}"):
        path = tmp_path / name
        path.write_bytes(b'{"images": []}')
        said = refusal(capsys, *arguments(command, flag, path))
        assert f"{flag} must " in said and str(path) in said
        assert path.read_bytes() == b'{"images": []}'


@pytest.mark.parametrize("command", WRITING)
def test_a_folder_and_a_path_behind_a_file_are_refused_with_their_name(tmp_path, capsys, command):
    _, flag, suffix = WRITING[command]
    (tmp_path / "one.jpg").write_bytes(b"")
    folder, behind = tmp_path, tmp_path / "one.jpg" / f"new{suffix}"
    assert f"{folder} is a folder" in refusal(capsys, *arguments(command, flag, folder))
    assert "one.jpg is a file" in refusal(capsys, *arguments(command, flag, behind))


@pytest.mark.parametrize(
    "command",
    [
        ("train", "--config=experiments/emoji.py", "--workdir"),
        ("embed", "--model=m", "--data=d", "--out"),
        ("filter", "--model=m", "--data=d", "--out"),
        ("export", "--model=m", "--to=hf", "--out"),
        ("import", "--from=m", "--out"),
        ("caption", "--model=m", "--data=d", "--out"),
    ],
)
def test_a_file_in_place_of_a_folder_is_refused_with_its_name(tmp_path, capsys, command):
    *before, flag = command
    (tmp_path / "one.jpg").write_bytes(b"")
    code = 1 if command[0] == "caption" else 2
    said = refusal(capsys, *before, f"{flag}={tmp_path}/one.jpg/new", code=code)
    assert "folder" in said and "one.jpg is a file" in said


def test_earlier_files_of_the_same_kind_are_replaced(tmp_path):
    check_output("--out", tmp_path / "new" / "r.json", RESULT)
    scores = dict(metrics={}, chance={}, counts={})
    said = dict(data="d", fingerprint="f", samples=1, rejected=0, step=0, dtype="", versions={})
    write_json(tmp_path / "r.json", make_result("retrieval", scores, **said))
    check_output("--out", tmp_path / "r.json", RESULT)
    for count in (1, 4, 9):
        pictures = [np.zeros((8, 8, 3), np.uint8)] * count
        draw_results(pictures, [""] * count, [0.0] * count, "words", tmp_path / "s.png")
        check_output("--out", tmp_path / "s.png", SHEET)


def test_a_picture_of_the_size_of_a_sheet_is_none(tmp_path):
    path = tmp_path / "search.png"
    draw_results([np.zeros((8, 8, 3), np.uint8)], [""], [0.0], "words", path)
    with Image.open(path) as sheet:
        size = sheet.size
    Image.new("RGB", size, "white").save(path)
    with pytest.raises(ValueError, match=r"new or a sheet that vlp has drawn, .*search.png holds"):
        check_output("--out", path, SHEET)


def test_a_tokenizer_is_never_replaced(tmp_path):
    (tmp_path / "t.model").write_bytes(b"pieces")
    with pytest.raises(ValueError, match="must be new, .*t.model holds something else"):
        check_output("--out", tmp_path / "t.model", TOKENIZER)


@pytest.mark.parametrize("words", FLAGS, ids=" ".join)
def test_an_empty_value_is_refused_not_ignored(capsys, words):
    *command, flag, _ = words
    for empty in (f"{flag}=", f"{flag}=  "):
        said = refusal(capsys, *command, empty, code=2)
        assert flag in said and ": needs a value, got an empty one" in said


def test_empty_words_among_others_are_refused_where_they_are_words():
    parser = _command_parsers()[1]["search"]
    with pytest.raises(ValueError, match="argument query: needs a value"):
        parser.parse_args(["--model=m", "red", ""])
    assert isinstance(parser.parse_args(["--model=m", "red"]), argparse.Namespace)
