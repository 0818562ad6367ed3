"""What a config says when all is resolved, and which configs there are.

  vlp config list
  vlp config show --config=experiments/own_data.py:data=pairs.tar,model=siglip/ViT-B/16
  vlp config show --config=experiments/emoji.py --config.model.image.dtype=bfloat16 --json

"show" prints every setting with where its value is from: the config file, an argument behind the
colon, a preset, weights, a tokenizer, a flag; or it is "usual" (of experiments/common.py) or the
default of what the section is for. Each has a flag, --config.SECTION.KEY=VALUE.
"""

import argparse
import ast
import json
from pathlib import Path
from typing import Any

from vlp.cli.overrides import add_config_argument

_QUIET = ("default", "usual")  # origins of what nobody chose for this run
SUMMARY = "show what a config says and where from; list the installed ones"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the sub-commands `show` and `list`."""
    jobs = parser.add_subparsers(dest="job", metavar="JOB", required=True)
    show = jobs.add_parser("show", help="print a resolved config")
    add_config_argument(show)
    show.add_argument("--json", action="store_true", help="print config and origins as JSON")
    show.set_defaults(run=_show)
    listing = jobs.add_parser("list", help="print the installed experiments")
    listing.set_defaults(run=_list)


def _list(args: argparse.Namespace, _: list[str]) -> None:
    import experiments
    from vlp.cli.config import installed

    table = _table()
    for name in installed():
        source = (Path(experiments.__path__[0]) / name).read_text(encoding="utf-8")
        first = (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]
        table.add_row(f"experiments/{name}", first)
    _print(table)


def _show(args: argparse.Namespace, overrides: list[str]) -> None:
    from vlp.cli.config import read_config
    from vlp.run.config_changes import defaults
    from vlp.run.values import as_json, flatten

    read = read_config(args.config, overrides)
    by_argument = {
        key: argument
        for key, argument in _arguments(args.config).items()
        if read.origin.get(key) in ("file", "usual")
    }
    origin = read.origin | by_argument
    if args.json:
        print(json.dumps({"config": as_json(read.config), "origin": origin}, indent=2))
        return
    values, usual = flatten(read.config.to_dict()), defaults(read.config)
    table, before = _table(), ""
    for key in sorted(values.keys() | usual.keys()):
        source, value = origin.get(key, "default"), values.get(key, usual.get(key))
        if value == {}:
            continue
        section = key.split(".")[0]
        if before and section != before:
            table.add_row()
        before = section
        table.add_row(key, repr(value), source, style="dim" if source in _QUIET else None)
    _print(table)


def _arguments(path: str) -> dict[str, str]:
    """Which argument behind the colon decides a key of the file: found by leaving it out."""
    from experiments.common import split_arg
    from vlp.cli.config import run_file
    from vlp.run.values import flatten

    file, _, argument = path.partition(":")
    items = split_arg(argument)
    whole = flatten(run_file(path).to_dict())
    found: dict[str, str] = {}
    for item in items:
        rest = [other for other in items if other != item]
        for without in (rest, [*rest, f"{item}_"]):  # one that must be there becomes another
            try:
                other = flatten(run_file(f"{file}:{','.join(without)}").to_dict())
            except ValueError:
                continue
            changed = {key for key in whole if whole[key] != other.get(key)}
            found |= dict.fromkeys(changed, f"argument {item.partition('=')[0]}")
            break
    return found


def _table() -> Any:
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    return table


def _print(table: Any) -> None:
    from rich.console import Console

    Console(width=max(Console().width, 80)).print(table, highlight=True)
