"""No flag is taken twice, and nothing of a command line is left out in silence."""

import subprocess

import pytest

from tests.cli.test_refusals import refusal
from vlp.cli.main import _command_parsers
from vlp.cli.overrides import split_overrides
from vlp.cli.parser import Joined, Parser, UsageError


def single_valued():
    """Every flag of every command that takes one value, with the words that lead to it."""
    _, parsers = _command_parsers()
    for name, parser in parsers.items():
        yield from _of(parser, [name])


def _of(parser, words):
    for action in parser._actions:
        if action.choices and hasattr(action.choices, "items"):
            for job, inner in action.choices.items():
                yield from _of(inner, [*words, job])
        elif action.option_strings and action.nargs is None and not isinstance(action, Joined):
            choice = next(iter(action.choices or ()), "0.5" if action.type is float else "3")
            yield [*words, action.option_strings[0], str(choice)]


FLAGS = list(single_valued())


@pytest.mark.parametrize("words", FLAGS, ids=" ".join)
def test_a_flag_given_twice_is_refused_with_both_values(capsys, words):
    *command, flag, value = words
    other = {"3": "4", "0.5": "0.25"}.get(value, value)
    parser = _parser_of(command)
    required = [
        f"{action.option_strings[0]}={next(iter(action.choices or ()), 'x')}"
        for action in parser._actions
        if action.required and action.option_strings and flag not in action.option_strings
    ]
    positional = [
        "x" for a in parser._actions if not a.option_strings and not isinstance(a.choices, dict)
    ]
    group = [
        f"{g._group_actions[0].option_strings[0]}=x"
        for g in parser._mutually_exclusive_groups
        if not any(flag in a.option_strings for a in g._group_actions)
    ]
    twice = [f"{flag}={value}", flag, other]
    said = refusal(capsys, *command, *twice, *required, *group, *positional, code=2)
    assert f"{flag} takes one value, got {flag}={value} and {flag}={other}" in said


@pytest.mark.parametrize("command", ["eval", "search", "embed", "caption", "filter"])
def test_data_given_several_times_are_all_meant(command):
    _, parsers = _command_parsers()
    words = ["--model=m", "--data=a.tar", "--data", "b.tar", "--data=c.tar"]
    words += {"eval": ["--task=retrieval"], "search": ["words"]}.get(command, ["--out=o"])
    assert parsers[command].parse_args(words).data == "a.tar,b.tar,c.tar"


def _parser_of(command) -> Parser:
    parser = _command_parsers()[1][command[0]]
    for job in command[1:]:
        parser = parser._subparsers._group_actions[0].choices[job]
    return parser


def test_two_names_of_one_flag_are_the_same_flag(capsys):
    twice = ["--model=a", "--workdir=b", "--data=x", "--task=retrieval"]
    assert "--model=a and --workdir=b" in refusal(capsys, "eval", *twice, code=2)


def expanded(word: str) -> list[str]:
    """What bash makes of a word."""
    printed = subprocess.run(
        ["bash", "-c", f'printf "%s\\n" {word}'], capture_output=True, text=True, check=True
    )
    return printed.stdout.splitlines()


@pytest.mark.parametrize(
    "pattern", ["s/{0000..0003}.tar", "s/{8..12}.tar", "{train,more}.tar", "s-{07..09}/all.tar"]
)
def test_braces_that_a_shell_took_apart_are_to_be_quoted(capsys, pattern):
    words = expanded(f"--config=experiments/own_data.py:data={pattern},epochs=1")
    assert len(words) > 1
    said = refusal(capsys, "train", *words, "--workdir=w", code=2)
    assert f"--config='experiments/own_data.py:data={pattern},epochs=1'" in said


def test_two_plain_values_are_not_taken_for_braces(capsys):
    said = refusal(capsys, "train", "--config=a.py", "--config=emoji", "--workdir=w", code=2)
    assert "leave all but one out" in said and "braces" not in said


def test_a_setting_given_twice_is_refused(capsys):
    twice = ["--config.seed=1", "--config.seed", "2"]
    said = refusal(capsys, "train", "--config=a.py", "--workdir=w", *twice, code=2)
    assert "--config.seed takes one value, got --config.seed=1 and --config.seed=2" in said


def test_the_value_of_a_setting_may_stand_apart():
    assert split_overrides(["--config.a", "-1", "--x", "--config.b=c d", "y"]) == (
        ["--x", "y"],
        ["--config.a=-1", "--config.b=c d"],
    )
    for items in (["--config.a"], ["--config.a", "--x"]):
        with pytest.raises(ValueError, match="--config.a needs a value"):
            split_overrides(items)


@pytest.mark.parametrize(
    "arguments",
    [
        ["eval", "--model=x", "--task=retrieval", "--data", "a.tar", "b.tar"],
        ["caption", "--model=x", "--out=y.jsonl", "--data=z", "--prompt", "a", "picture"],
        ["train", "--config", "a.py", "b.py", "--workdir=w"],
    ],
)
def test_what_a_shell_leaves_behind_a_value_is_said(capsys, arguments):
    assert "a flag takes one value" in refusal(capsys, *arguments, code=2)


def test_a_setting_of_a_command_without_a_config_is_unknown(capsys):
    said = refusal(capsys, "data", "emoji", "--config.seed=3", code=2)
    assert "unknown argument --config.seed" in said


def test_a_parser_of_ones_own_refuses_too():
    parser = Parser(prog="x", allow_abbrev=False)
    parser.add_argument("--one")
    parser.add_argument("--yes", action="store_true")
    parser.add_argument("--many", nargs="+")
    given = parser.parse_args(["--one=1", "--yes", "--yes", "--many", "a", "b"])
    assert (given.one, given.yes, given.many) == ("1", True, ["a", "b"])
    assert not hasattr(given, "given")
    with pytest.raises(UsageError, match="--one takes one value"):
        parser.parse_args(["--one=1", "--one=1"])
