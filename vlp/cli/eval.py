"""Judge a model on a data set: zero-shot retrieval or classification.

  vlp eval --model=runs/emoji --data=emoji:twemoji --task=retrieval --out=result.json
  vlp eval --model=hf:models/clip-b32 --data=other.tar --task=classification --label=category

The model is a run of vlp (its workdir, or one of its checkpoints) or weights of another stack, as
`vlp import --help` lists them. Data are tars in WebDataset's layout (`KEY.png`, `KEY.txt` with one
caption a line, `KEY.json`), a folder with captions.csv or captions.jsonl, or `emoji:NAME`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from vlp.cli.importing import add_loading_arguments, add_model_argument, loading

SUMMARY = "judge a model on a data set: retrieval or classification"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vlp eval`."""
    add_model_argument(parser)
    parser.add_argument("--data", required=True, help="tars, a folder, or emoji:NAME")
    parser.add_argument("--task", required=True, choices=("retrieval", "classification"))
    parser.add_argument("--out", metavar="FILE.json", help="write the result there")
    parser.add_argument(
        "--captions", choices=("first", "all"), default=None, help="retrieval: default first"
    )
    parser.add_argument(
        "--group", metavar="FIELD", help="retrieval: report each value of a JSON field on its own"
    )
    parser.add_argument(
        "--label", metavar="FIELD", help="classification: the JSON field that is the class"
    )
    parser.add_argument(
        "--templates",
        metavar="NAME|FILE",
        help="classification: prompts by name (simple, emoji, photo, clip7) or a file of them",
    )
    add_loading_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, _: list[str]) -> int:
    """Judges, prints a table and writes the JSON."""
    settings = _settings(args)
    from vlp.cli.judge import Judge
    from vlp.evals.results import print_results, write_json
    from vlp.interop.load import load_run

    judge = Judge.of_run(load_run(args.model, **loading(args)))
    result = judge.judge(args.task, data=args.data, **settings)
    print_results([result])
    if args.out:
        write_json(Path(args.out), result)
        print(f"written to {args.out}")
    return 0


def _settings(args: argparse.Namespace) -> dict[str, str]:
    """The settings of the task; a setting of the other task is refused, not ignored."""
    tasks = {"retrieval": ("captions", "group"), "classification": ("label", "templates")}
    given = {name: getattr(args, name) for names in tasks.values() for name in names}
    given = {name: value for name, value in given.items() if value is not None}
    foreign = sorted(set(given) - set(tasks[args.task]))
    if foreign:
        raise ValueError(f"--{foreign[0]} does not belong to --task={args.task}; leave it out")
    if args.task == "classification" and "label" not in given:
        raise ValueError("--task=classification needs --label=FIELD, e.g. --label=category")
    return given
