"""The `vlp` command: one parser, one sub-command a file, errors without tracebacks."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from vlp.cli.logs import set_up_logging
from vlp.cli.overrides import split_overrides
from vlp.version import __version__

DESCRIPTION = """\
Vision-language pretraining in JAX: train dual encoders, judge them zero-shot, export them.

  vlp train  --config=experiments/emoji.py --workdir=runs/emoji    train, evaluate, write a report
  vlp eval   --workdir=runs/emoji --data=TAR --task=retrieval      judge a run on other data
  vlp search --workdir=runs/emoji "a red heart"                    find pictures by a sentence
  vlp caption --model=runs/coca --data=TAR --out=captions.jsonl    write captions for pictures
  vlp filter --model=runs/blip --data=TAR --out=clean              keep captions that match
  vlp embed  --model=runs/emoji --data=TAR --out=embeddings        vectors of a whole data set
  vlp import --from=models/b32 --out=runs/b32                      begin from other weights
  vlp export --model=runs/emoji --to=hf --out=exported             hand the encoders on
  vlp data   index|tokenizer|emoji                                 prepare data
  vlp config show|list                                             what a config file says

`vlp COMMAND --help` explains each. Set VLP_DEBUG=1 to see tracebacks."""


class Parser(argparse.ArgumentParser):
    """An argument parser that names the nearest flag or command when one is mistyped, and takes no
    flag twice: argparse would keep the last value in silence.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.register("action", None, Once)
        self.register("action", "store", Once)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does, but for flags given twice.

        Raises:
            UsageError: a flag that takes one value got several.
        """
        namespace = argparse.Namespace() if namespace is None else namespace
        namespace.given = {}
        found = super().parse_known_args(args, namespace)
        for values in found[0].__dict__.pop("given", {}).values():
            check_once(values)
        return found

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}\n{self.format_usage().strip()}")

    def options(self) -> list[str]:
        """Every flag, those of sub-commands included."""
        found: list[str] = []
        for action in self._actions:
            found += action.option_strings
            if isinstance(action, argparse._SubParsersAction):
                found += [flag for parser in action.choices.values() for flag in parser.options()]
        return found

    def reject_unknown(self, unknown: Sequence[str]) -> None:
        """Raises UsageError for the first argument that no flag takes."""
        if not unknown:
            return
        name = unknown[0].split("=", 1)[0]
        if not name.startswith("-"):
            raise UsageError(
                f"unknown argument {name}: a flag takes one value, and a shell makes several of "
                "patterns and sentences without quotes; write --data='shards/*.tar'"
            )
        known = self.options()
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"; did you mean {nearest[0]}?" if nearest else f"; known flags: {', '.join(known)}"
        raise UsageError(f"unknown argument {name}{hint}")


class Once(argparse._StoreAction):
    """Stores a value and remembers all that were given, for `check_once`."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        super().__call__(parser, namespace, values, option_string)
        if option_string is not None:
            namespace.given.setdefault(self.dest, []).append((option_string, str(values)))


class UsageError(ValueError):
    """The command line itself is wrong; the process exits with code 2."""


def check_once(values: Sequence[tuple[str, str]]) -> None:
    """Refuses a flag that has several values.

    Args:
        values: each with the flag as it was written.

    Raises:
        UsageError: there are several; says so of braces that a shell took apart.
    """
    if len(values) < 2:
        return
    given = [f"{flag}={value}" for flag, value in values]
    more = f" and {len(given) - 2} more" if len(given) > 2 else ""
    braces = _braces([value for _, value in values])
    hint = f"a shell takes braces apart, quote them: {values[0][0]}='{braces}'" if braces else ""
    raise UsageError(
        f"{values[0][0]} takes one value, got {given[0]} and {given[1]}{more}; "
        + (hint or "leave all but one out")
    )


def _braces(values: Sequence[str]) -> str:
    """The pattern such as s/{0..3}.tar that a shell has made these values of; "" if it is none."""
    before = os.path.commonprefix(values).rstrip("0123456789")
    rest = [value[len(before) :] for value in values]
    behind = os.path.commonprefix([value[::-1] for value in rest])[::-1].lstrip("0123456789")
    middle = [value[: len(value) - len(behind)] for value in rest]
    if len(set(middle)) < 2 or not before:
        return ""
    if all(part.isdecimal() for part in middle):
        return f"{before}{{{middle[0]}..{middle[-1]}}}{behind}"
    return f"{before}{{{','.join(middle)}}}{behind}" if behind else ""


def _command_parsers() -> tuple[Parser, dict[str, Parser]]:
    from vlp.cli import (
        caption,
        data,
        embed,
        eval,
        export,
        filter,
        importing,
        search,
        show,
        train,
    )

    parser = Parser(
        prog="vlp",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"vlp {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    parsers = {}
    modules = {
        "train": train,
        "eval": eval,
        "embed": embed,
        "search": search,
        "caption": caption,
        "filter": filter,
        "import": importing,
        "export": export,
        "data": data,
        "config": show,
    }
    for name, module in modules.items():
        parsers[name] = commands.add_parser(
            name,
            help=module.SUMMARY,
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        module.add_arguments(parsers[name])
    return parser, parsers


def _dispatch(arguments: Sequence[str]) -> int:
    parser, parsers = _command_parsers()
    if not arguments:
        parser.print_help()
        return 0
    command = arguments[0]
    if not command.startswith("-") and command not in parsers:
        nearest = difflib.get_close_matches(command, parsers, n=1)
        hint = f"did you mean {nearest[0]}?" if nearest else f"known: {', '.join(parsers)}"
        raise UsageError(f"unknown command {command}; {hint}")
    arguments, overrides = _without_overrides(arguments)
    try:
        args, unknown = parser.parse_known_args(arguments)
    except UsageError:
        # A mistyped flag that is required: say which one was meant, not that it is missing.
        if command in parsers:
            known = parsers[command].options()
            flags = [item.split("=", 1)[0] for item in arguments if item.startswith("--")]
            parsers[command].reject_unknown([x for x in flags if x not in known])
        raise
    if overrides and not getattr(args, "takes_config", False):
        unknown = [*overrides, *unknown]
    parsers[args.command].reject_unknown(unknown)
    set_up_logging()
    return args.run(args, overrides) or 0


def _without_overrides(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    try:
        others, overrides = split_overrides(arguments)
    except ValueError as error:
        raise UsageError(str(error)) from error
    given: dict[str, list[tuple[str, str]]] = {}
    for item in overrides:
        key, _, value = item.partition("=")
        given.setdefault(key, []).append((key, value))
    for values in given.values():
        check_once(values)
    return others, overrides


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one `vlp` command and returns the process's exit code.

    Exit codes: 0 done, 1 refused or failed with a message, 2 wrong command line, 75 stopped by a
    signal after saving (start the same command again to go on), 130 interrupted before that.
    """
    try:
        return _dispatch(list(sys.argv[1:] if arguments is None else arguments))
    except UsageError as error:
        return _complain(error, code=2)
    except KeyboardInterrupt:
        return _complain("interrupted", code=130)
    except BrokenPipeError:
        return 141
    except (ValueError, TypeError, OSError, RuntimeError) as error:
        if os.environ.get("VLP_DEBUG"):
            raise
        return _complain(error, code=1)


def _complain(problem: object, *, code: int) -> int:
    print(f"vlp: {problem}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
