"""Judges many models on many sets, zero-shot, and draws the table.

  vlp sweep --models runs/emoji --suite emoji --out sweeps/emoji
  vlp sweep --models 'runs/*@all' hf:models/clip-b32 open_clip:models/vit-b-32
      --suite vtab+ retrieval --data /data/clip_benchmark --out sweeps/july
  vlp sweep --list --suite datacomp38 --data /data/datacomp

A model is whatever `vlp.load` opens, or vectors:FOLDER, the vectors of `vlp embed`, which are
judged on the data they are of; behind a run stands which of its checkpoints: @last (as without),
@all, @every:K or @STEP. A suite is one that comes with vlp or a TOML file with a table
[[set]] for each set; sets lie below --data in the layout of CLIP_benchmark and DataComp, or as any
data of vlp. --list shows what is there, and how to get the rest.

Each model embeds each set once, whatever is asked of it; embeddings are kept. A sweep that was
stopped goes on with the same command, rows that failed are tried again. --out holds log.jsonl (a
line a model, set and task), results.jsonl, .parquet and .csv (a row a metric), table.md (for a
paper) and index.html, a page to look at.

  vlp sweep --compare clip siglip --out sweeps/emoji

compares models of a finished sweep on the same samples: differences with their intervals, wins and
losses, in the terminal, in compare.json and in compare.html.
"""

import argparse
from collections.abc import Collection
from pathlib import Path
from typing import Any

from vlp.cli.arguments import (
    add_decoding_arguments,
    add_loading_arguments,
    add_process_arguments,
    check_sizes,
    limits,
    loading,
    local_folder,
    start_processes,
)

SUMMARY = "judge many models on many sets, zero-shot, and draw the table"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vlp sweep`."""
    parser.add_argument("--models", nargs="+", metavar="MODEL", help="see above")
    parser.add_argument(
        "--suite", nargs="+", default=[], metavar="NAME|FILE", help="which sets and tasks"
    )
    parser.add_argument("--data", default="", metavar="ROOT", help="where the sets lie")
    parser.add_argument("--out", type=local_folder, metavar="DIR", help="the folder of the results")
    parser.add_argument("--list", action="store_true", help="show the sets and what is there")
    parser.add_argument(
        "--compare",
        nargs="+",
        metavar="MODEL",
        help="the first of these models of the sweep in --out with each of the others",
    )
    parser.add_argument("--only", nargs="+", metavar="SET", help="these sets of the suites alone")
    parser.add_argument("--tasks", nargs="+", metavar="TASK", help="these tasks alone")
    parser.add_argument(
        "--templates",
        metavar="NAME|FILE",
        help="prompts of all sets of classes, in place of their own: clip80, clip7, those that the "
        "field has for cifar10, eurosat, ..., or a file: one a line, a JSON list, or JSON with "
        "prompts by class",
    )
    parser.add_argument(
        "--classes",
        metavar="NAME|FILE",
        help="the names of the classes of all sets, in place of their own: imagenet1k, ..., or a "
        "file: one a line, or JSON, where a class may have several, weighted",
    )
    parser.add_argument(
        "--limit", type=int, default=0, metavar="N", help="N pictures of each set, drawn by --seed"
    )
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn (default 0)")
    parser.add_argument(
        "--pictures",
        choices=("plain", "upright"),
        default="plain",
        help="plain: decoded as the benchmarks' own programs do it; upright: as everywhere else in "
        "vlp, with EXIF rotation, transparency and 16 bits (default %(default)s)",
    )
    parser.add_argument(
        "--precision",
        choices=("fp32", "own", "clip_benchmark", "datacomp"),
        default="fp32",
        help="fp32: everything in float32; own: the towers as the models were made; "
        "clip_benchmark, datacomp: as these do it on CPUs, with bfloat16 in places, see "
        "vlp/sweeps/precision.py (default %(default)s)",
    )
    parser.add_argument(
        "--draws",
        type=int,
        default=1000,
        metavar="N",
        help="of the bootstrap behind the intervals, 0 for none (default %(default)s)",
    )
    parser.add_argument(
        "--template-draws",
        type=int,
        default=100,
        metavar="N",
        help="of the bootstrap over the templates of zero-shot classification, 0 for no such "
        "intervals; each ranks all pictures anew (default %(default)s)",
    )
    parser.add_argument(
        "--vectors", type=Path, metavar="DIR", help="where embeddings are kept; default in --out"
    )
    parser.add_argument(
        "--models-at-once",
        type=int,
        metavar="N",
        help="models in memory together, which share decoding; default as many as there is room "
        "for",
    )
    parser.add_argument(
        "--export",
        nargs="+",
        metavar="PROGRAM",
        choices=("clip_benchmark", "datacomp"),
        default=[],
        help="write --out/export for the scripts of clip_benchmark (JSON files for its build) or "
        "datacomp (eval_results.jsonl for aggregate_scores.py)",
    )
    add_decoding_arguments(parser)
    add_loading_arguments(parser)
    add_process_arguments(parser)


def run(args: argparse.Namespace, _: list[str]) -> None:
    """Sweeps, or lists."""
    check_sizes(args, "threads", "models_at_once")
    given = {name: getattr(args, name) for name in ("limit", "draws", "template_draws")}
    for name, value in given.items():
        if value < 0:
            raise ValueError(f"--{name.replace('_', '-')} must be 0 or more, got {value}")
    if args.compare:
        _compare(args)
        return
    if not args.suite:
        raise ValueError("a sweep needs --suite, the name of a suite or a TOML file; see --help")
    from vlp.sweeps.suites import read_suites

    entries = _chosen(args, read_suites(args.suite))
    if args.list:
        from vlp.sweeps.listing import print_list

        print_list(entries, args.data)
        return
    if not args.models or not args.out:
        raise ValueError("a sweep needs --models and --out; or give --list to see the sets")
    start_processes(args)
    _sweep(args, entries)


def _sweep(args: argparse.Namespace, entries: list[Any]) -> None:
    from vlp.caches import use_compilation_cache
    from vlp.jobs.outputs import check_folder
    from vlp.parallel.lock import Lock, only_writer
    from vlp.parallel.together import everywhere, on_first
    from vlp.sweeps.bars import Bars
    from vlp.sweeps.foreign import write_foreign
    from vlp.sweeps.log import Log
    from vlp.sweeps.models import expand
    from vlp.sweeps.page.write import write_page
    from vlp.sweeps.plan import Plan
    from vlp.sweeps.table import current, write_tables
    from vlp.sweeps.work import Sweep

    out = Path(args.out)
    plan = Plan(
        models=expand(args.models, settings=loading(args)),
        entries=entries,
        out=out,
        root=args.data,
        vectors=args.vectors,
        rule=args.pictures,
        limit=args.limit,
        seed=args.seed,
        draws=args.draws,
        template_draws=args.template_draws,
        precision=args.precision,
        at_once=args.models_at_once or 0,
        threads=args.threads,
        limits=limits(args),
    )
    check_folder("--out", out, manifest="log.jsonl", ours="an earlier sweep")
    use_compilation_cache(from_s=0.3)  # many small programs: texts of several lengths
    with only_writer(Lock(out)):
        on_first((out / "log.jsonl").touch)  # by which the folder is a sweep's from now on
        on_first(lambda: _tidy_up(out))
        log = everywhere(lambda: Log(out / "log.jsonl"))
        with Bars() as bars:
            sweep = Sweep(plan, log, bars=bars)
            exported = list[str]()
            try:
                sweep.carry_out()
                asked: Any = dict(entries=entries, keys=sweep.keys, formats=args.export)
                on_first(lambda: exported.extend(write_foreign(out, log.rows.values(), **asked)))
            finally:
                on_first(lambda: write_tables(out, log.rows.values()))
                on_first(lambda: write_page(out, log.rows.values(), sets=sweep.sets))
    counting = current(log.rows.values())
    failed = sum("failed" in row for row in counting)
    print(f"{len(counting):,} rows in {out}, {failed:,} of them failed")
    for line in exported:
        print(line)


def _tidy_up(out: Path) -> None:
    """Removes what an earlier sweep into this folder left half written, when it was killed."""
    from vlp.files import remove_partials

    remove_partials(out)
    for name in ("samples", "vectors", "export"):
        for folder in list((out / name).glob("**/")):
            remove_partials(folder)


def _compare(args: argparse.Namespace) -> None:
    from vlp.files import write_json
    from vlp.sweeps.compare import compare
    from vlp.sweeps.log import Log
    from vlp.sweeps.names import find_model
    from vlp.sweeps.page.differences import print_comparison
    from vlp.sweeps.page.write import write_comparison
    from vlp.sweeps.samples import SampleStore

    unused = ", ".join(_given(args, without=("compare", "out", "draws", "seed")))
    if unused:
        raise ValueError(f"--compare reads a finished sweep; leave out {unused}")
    if len(args.compare) < 2 or not args.out or args.draws < 1:
        raise ValueError(
            "--compare needs two models or more of the sweep in --out, and --draws of 1 or more, "
            f"got {len(args.compare)} models, --out={args.out}, --draws={args.draws}"
        )
    out = Path(args.out)
    rows = list(Log(out / "log.jsonl").rows.values())
    if not rows:
        raise ValueError(f"--compare needs a sweep, {out / 'log.jsonl'} has no rows; sweep first")
    first, *others = [find_model(text, rows) for text in args.compare]
    if len({first, *others}) <= len(others):
        raise ValueError(f"--compare must name different models, got {' '.join(args.compare)}")
    found = compare(
        rows, SampleStore(out / "samples"), first=first, others=others, draws=args.draws,
        seed=args.seed,
    )  # fmt: skip
    write_json(out / "compare.json", {"draws": args.draws, "seed": args.seed, **found.as_json()})
    write_comparison(out, found)
    print_comparison(found)


def _given(args: argparse.Namespace, *, without: Collection[str]) -> list[str]:
    """The flags that say something else than they do by themselves."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    defaults = vars(parser.parse_args([]))
    names = [name for name in defaults if getattr(args, name) != defaults[name]]
    return [f"--{name.replace('_', '-')}" for name in names if name not in without]


def _chosen(args: argparse.Namespace, entries: list[Any]) -> list[Any]:
    """The sets and tasks that are wanted."""
    import dataclasses

    if args.only:
        known = {name for entry in entries for name in (entry.name, entry.published)} - {""}
        unknown = sorted(set(args.only) - known)
        if unknown:
            names = ", ".join(entry.name for entry in entries)
            raise ValueError(f"--only must name sets of the suites, {names}, got {unknown[0]!r}")
        entries = [e for e in entries if {e.name, e.published} & set(args.only)]
    if args.tasks:
        entries = [dataclasses.replace(entry, tasks=tuple(args.tasks)) for entry in entries]
    said = {name: getattr(args, name) for name in ("templates", "classes")}
    said = {name: value for name, value in said.items() if value}
    entries = [dataclasses.replace(entry, **said) for entry in entries]
    return entries
