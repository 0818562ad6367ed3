"""What the README says can be typed as it stands."""

import argparse
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.small.runs import command, picture
from vlp.cli.main import _command_parsers

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


@pytest.mark.slow
def test_the_five_lines_of_python_run(train, tmp_path):
    train(arg="steps=2", workdir="runs/emoji")
    (tmp_path / "cat.png").write_bytes(picture("red", "dot"))
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)[1]
    _, environment = command()
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    assert re.fullmatch(r"\[\[ *-?\d.*\]\]\n", ran.stdout)


def with_jobs(parser):
    """A command's parser and those of its own commands."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.values()


def test_every_command_and_flag_it_names_exists():
    parser, parsers = _command_parsers()
    for name in re.findall(r"vlp (\w+) +-", README):
        assert name in parsers, name
    everything = [each for p in parsers.values() for each in with_jobs(p)]
    flags = {flag for p in everything for a in p._actions for flag in a.option_strings}
    jobs = {p.prog.split()[-1] for p in with_jobs(parsers["data"])}
    for name in re.findall(r"vlp data (\w+)", README):
        assert name in jobs, name
    for flag in re.findall(r"(--[a-z][a-z-]+)[=\s`]", README):
        assert flag in flags | {"--config"}, flag


def test_every_make_target_it_names_exists():
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = README + (ROOT / "CONTRIBUTING.md").read_text()
    named = set(re.findall(r"make ([a-z0-9-]+)", text)) - {"it"}
    assert named and named <= targets
