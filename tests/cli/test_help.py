"""Every command explains itself in 80 columns, with examples that can be pasted."""

import re
import shlex
import sys
from pathlib import Path

import pytest

from vlp.cli.main import _command_parsers
from vlp.cli.overrides import split_overrides
from vlp.cli.parser import Help
from vlp.terminal import called


def helps(monkeypatch, columns="80") -> dict[str, str]:
    monkeypatch.setenv("COLUMNS", columns)
    parser, parsers = _command_parsers()
    found = {"vlp": parser.format_help()}
    for name, command in parsers.items():
        found[name] = command.format_help()
        for group in command._subparsers._group_actions if command._subparsers else ():
            found |= {f"{name} {job}": p.format_help() for job, p in group.choices.items()}
    return found


@pytest.mark.parametrize("columns", ["80", "100"])
def test_every_help_fits(monkeypatch, columns):
    for name, text in helps(monkeypatch, columns).items():
        wide = [line for line in text.splitlines() if len(line) > int(columns)]
        assert not wide, (name, wide)


def examples(text: str) -> list[str]:
    joined = re.sub(r" \\\n +", " ", text)
    return [line.strip() for line in joined.splitlines() if line.startswith("  vlp ")]


@pytest.mark.parametrize("columns", ["60", "80", "200"])
def test_every_example_is_a_command_however_wide_the_terminal(monkeypatch, columns):
    parser, parsers = _command_parsers()
    wide = helps(monkeypatch, "400")
    seen = 0
    for name, text in helps(monkeypatch, columns).items():
        assert examples(text) == examples(wide[name])
        for example in examples(text):
            arguments, _ = split_overrides(shlex.split(example)[1:])
            _, unknown = parser.parse_known_args(arguments)
            assert not unknown, example
            seen += 1
    assert seen > 15 and set(parsers) >= {"config", "train"}


def test_paragraphs_are_filled_and_indented_lines_kept():
    text = "one two\nthree\n\n  vlp train --a=1\n  x   y\n"
    filled = Help("vlp")._fill_text(text, 60, "")
    assert filled == "one two three\n\n  vlp train --a=1\n  x   y"


def test_commands_are_written_as_the_user_calls_them(monkeypatch, tmp_path):
    for argument, said in {
        "/x/pytest": "vlp",
        str(tmp_path / "main.py"): "python -m vlp.cli.main",
        ".venv/bin/vlp": ".venv/bin/vlp",
    }.items():
        monkeypatch.setattr(sys, "argv", [argument])
        assert called() == said
    program = tmp_path / "vlp"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", [str(program)])
    assert called() == "vlp" and Path(program).is_file()
