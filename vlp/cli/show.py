"""What a config says when all is resolved, and which configs there are.

  vlp config list
  vlp config show --config=experiments/own_data.py:data=pairs.tar,model=siglip/ViT-B/16
  vlp config show --config=experiments/emoji.py --config.model.image.dtype=bfloat16 --json

"show" prints every setting with where its value is from: the config file, an argument behind the
colon, a preset, weights, a tokenizer, a flag; or it is "usual" (of experiments/common.py) or the
default of what the section is for. Each has a flag, --config.SECTION.KEY=VALUE.
"""

from __future__ import annotations

import argparse
import ast
import json
from pathlib import Path
from typing import Any

from vlp.cli.overrides import add_config_argument

SUMMARY = "show what a config says and where from; list the installed ones"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the sub-commands `show` and `list`."""
    jobs = parser.add_subparsers(dest="job", metavar="JOB", required=True)
    show = jobs.add_parser("show", help="print a resolved config", allow_abbrev=False)
    add_config_argument(show)
    show.add_argument("--json", action="store_true", help="print it as JSON, without origins")
    show.set_defaults(run=_show)
    listing = jobs.add_parser("list", help="print the installed experiments", allow_abbrev=False)
    listing.set_defaults(run=_list)


def _list(args: argparse.Namespace, _: list[str]) -> int:
    import experiments
    from vlp.cli.config import installed

    table = _table()
    for name in installed():
        source = (Path(experiments.__path__[0]) / name).read_text(encoding="utf-8")
        first = (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]
        table.add_row(f"experiments/{name}", first)
    _print(table)
    return 0


def _show(args: argparse.Namespace, overrides: list[str]) -> int:
    from vlp.cli.config import as_json, defaults, flatten, read_config

    read = read_config(args.config, overrides)
    if args.json:
        print(json.dumps(as_json(read.config), indent=2))
        return 0
    origin = read.origin | {
        key: argument
        for key, argument in _arguments(args.config).items()
        if read.origin.get(key) == "file"
    }
    values, usual = flatten(read.config.to_dict()), defaults(read.config)
    table = _table()
    for key in sorted(values.keys() | usual.keys()):
        source = origin.get(key, "default")
        value = values.get(key, usual.get(key))
        if value != {}:
            dim = source in ("default", "usual")
            table.add_row(key, repr(value), source, style="dim" if dim else None)
    _print(table)
    return 0


def _arguments(path: str) -> dict[str, str]:
    """Which argument behind the colon decides a key of the file: found by leaving it out."""
    from experiments.common import split_arg
    from vlp.cli.config import flatten, run_file

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

    return Table(box=None, show_header=False, pad_edge=False)


def _print(table: Any) -> None:
    from rich.console import Console

    console = Console()
    Console(width=max(console.width, 80)).print(table)
