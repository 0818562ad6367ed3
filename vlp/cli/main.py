"""The `vlp` command: one parser, one sub-command a file, errors without tracebacks."""

import difflib
import os
import sys
from collections.abc import Sequence

from vlp.cli.overrides import split_overrides
from vlp.cli.parser import Parser, UsageError, check_once
from vlp.terminal import called, set_up_logging
from vlp.version import __version__

DESCRIPTION = """\
Vision-language pretraining in JAX: train image-text models, judge them zero-shot, export them.

  vlp train --config=experiments/emoji.py --workdir=runs/emoji
  vlp search --workdir=runs/emoji "a red heart"
  vlp eval --workdir=runs/emoji --data='shards/*.tar' --task=retrieval
  vlp sweep --models 'runs/*' --suite emoji --out sweeps/emoji
  vlp export --model=runs/emoji --to=hf --out=exported

`vlp COMMAND --help` explains each. Set VLP_DEBUG=1 to see tracebacks."""


def _command_parsers() -> tuple[Parser, dict[str, Parser]]:
    from vlp.cli import (
        caption,
        data,
        embed,
        eval,
        export,
        filter,
        import_weights,
        plan,
        search,
        show,
        sweep,
        train,
    )

    parser = Parser(prog=called(), description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"vlp {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    parsers = {}
    modules = {
        "train": train,
        "eval": eval,
        "sweep": sweep,
        "embed": embed,
        "search": search,
        "caption": caption,
        "filter": filter,
        "import": import_weights,
        "export": export,
        "plan": plan,
        "data": data,
        "config": show,
    }
    for name, module in modules.items():
        parsers[name] = commands.add_parser(name, help=module.SUMMARY, description=module.__doc__)
        parsers[name].set_defaults(run=getattr(module, "run", None))  # or of each of its jobs
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
    others, overrides = split_overrides(arguments)
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
        return _complain(error, code=1) if not _hangs(error) else _leave(error)


def _hangs(error: Exception) -> bool:
    """Whether a thread that answers nothing would hold the program at its end."""
    from data_pipelines.watch import Stalled

    return isinstance(error, Stalled)


def _leave(error: Exception) -> int:
    code = _complain(error, code=1)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _complain(problem: object, *, code: int) -> int:
    print(f"vlp: {problem}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
