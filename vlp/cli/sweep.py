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
line a model, set and task), results.jsonl, .parquet and .csv (a row a metric).
"""

import argparse
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
        "--suite", nargs="+", required=True, metavar="NAME|FILE", help="which sets and tasks"
    )
    parser.add_argument("--data", default="", metavar="ROOT", help="where the sets lie")
    parser.add_argument("--out", type=local_folder, metavar="DIR", help="the folder of the results")
    parser.add_argument("--list", action="store_true", help="show the sets and what is there")
    parser.add_argument("--only", nargs="+", metavar="SET", help="these sets of the suites alone")
    parser.add_argument("--tasks", nargs="+", metavar="TASK", help="these tasks alone")
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
        "--draws",
        type=int,
        default=1000,
        metavar="N",
        help="of the bootstrap behind the intervals, 0 for none (default %(default)s)",
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
    add_decoding_arguments(parser)
    add_loading_arguments(parser)
    add_process_arguments(parser)


def run(args: argparse.Namespace, _: list[str]) -> None:
    """Sweeps, or lists."""
    check_sizes(args, "threads", "models_at_once")
    if args.limit < 0 or args.draws < 0:
        raise ValueError(f"--limit and --draws must be 0 or more, got {args.limit}, {args.draws}")
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
    from vlp.sweeps.log import Log
    from vlp.sweeps.models import expand
    from vlp.sweeps.plan import Plan
    from vlp.sweeps.table import write_tables
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
        at_once=args.models_at_once or 0,
        threads=args.threads,
        limits=limits(args),
    )
    check_folder("--out", out, manifest="log.jsonl", ours="an earlier sweep")
    use_compilation_cache(from_s=0.3)  # many small programs: texts of several lengths
    with only_writer(Lock(out)):
        on_first((out / "log.jsonl").touch)  # by which the folder is a sweep's from now on
        log = everywhere(lambda: Log(out / "log.jsonl"))
        try:
            with Bars() as bars:
                Sweep(plan, log, bars=bars).carry_out()
        finally:
            on_first(lambda: write_tables(out, log.rows.values()))
    failed = sum("failed" in row for row in log.rows.values())
    print(f"{len(log.rows):,} rows in {out}, {failed:,} of them failed")


def _chosen(args: argparse.Namespace, entries: list[Any]) -> list[Any]:
    """The sets and tasks that are wanted."""
    import dataclasses

    if args.only:
        unknown = sorted(set(args.only) - {entry.name for entry in entries})
        if unknown:
            known = ", ".join(entry.name for entry in entries)
            raise ValueError(f"--only must name sets of the suites, {known}, got {unknown[0]!r}")
        entries = [entry for entry in entries if entry.name in args.only]
    if args.tasks:
        entries = [dataclasses.replace(entry, tasks=tuple(args.tasks)) for entry in entries]
    return entries
