"""The `vlp` command: one parser, one sub-command a file, errors without tracebacks."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

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

`vlp COMMAND --help` explains each. Set VLP_DEBUG=1 to see tracebacks."""


class Parser(argparse.ArgumentParser):
    """An argument parser that names the nearest flag or command when one is mistyped."""

    def error(self, message: str) -> NoReturn:
        if message.startswith("argument "):  # that says all
            raise UsageError(message)
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
        known = self.options()
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"; did you mean {nearest[0]}?" if nearest else f"; known flags: {', '.join(known)}"
        raise UsageError(f"unknown argument {name}{hint}")


class UsageError(ValueError):
    """The command line itself is wrong; the process exits with code 2."""


def _command_parsers() -> tuple[Parser, dict[str, Parser]]:
    from vlp.cli import caption, data, embed, eval, export, filter, importing, search, train

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
    try:
        args, unknown = parser.parse_known_args(arguments)
    except UsageError:
        # A mistyped flag that is required: say which one was meant, not that it is missing.
        if command in parsers:
            known = (*parsers[command].options(), "--config.")
            flags = [item for item in arguments if item.startswith("--")]
            parsers[command].reject_unknown([x for x in flags if not x.startswith(known)])
        raise
    takes_config = getattr(args, "takes_config", False)
    overrides = [item for item in unknown if takes_config and item.startswith("--config.")]
    parsers[args.command].reject_unknown([item for item in unknown if item not in overrides])
    return args.run(args, overrides) or 0


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
