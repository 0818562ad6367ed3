"""What loading costs stage by stage, and the cores that so many pairs a second need.

  vlp data bench --data='shards/*.tar' --pairs-per-second=20000
  vlp data bench --config=experiments/emoji.py --config.data.workers=auto --json=bench.json

With --config samples become what that run trains on; with --data what experiments/own_data.py makes
of them, with CLIP's tokenizer. Stages are measured on one core; then batches are loaded as the run
would. The machine should have nothing else to do.
"""

import argparse
import dataclasses
import tempfile
from typing import Any

from vlp.cli.arguments import local_path
from vlp.cli.overrides import add_config_argument
from vlp.cli.parser import Joined, UsageError

SUMMARY = "measure a pipeline stage by stage, and the cores that it needs"


def add_job(commands: Any) -> None:
    """Adds the sub-command `bench`."""
    parser = commands.add_parser(
        "bench",
        help=SUMMARY,
        description=__doc__,
        allow_abbrev=False,
    )
    add_config_argument(parser, required=False)
    parser.add_argument("--data", action=Joined, metavar="DATA", help="image-text pairs")
    parser.add_argument("--pairs-per-second", type=float, metavar="N", help="that are to be loaded")
    parser.add_argument(
        "--seconds", type=float, default=3.0, help="of each measurement (default %(default)s)"
    )
    parser.add_argument(
        "--json", type=local_path, metavar="FILE", help="write all figures to this file"
    )
    parser.set_defaults(run=_bench)


def _bench(args: argparse.Namespace, overrides: list[str]) -> None:
    from data_pipelines.bench import bench
    from vlp.cli.config import load_config
    from vlp.files import write_json
    from vlp.run.inputs import open_inputs
    from vlp.run.workdir import Workdir

    if bool(args.config) == bool(args.data):
        raise UsageError("vlp data bench takes either --config or --data")
    for flag in ("seconds", "pairs_per_second"):
        value = getattr(args, flag)
        if value is not None and not value > 0:
            raise UsageError(f"--{flag.replace('_', '-')} must be above 0, got {value}")
    path = args.config or "experiments/own_data.py:data=DATA,tokenizer=clip"
    named = [] if args.config else [f"--config.data.train={args.data}"]
    config = load_config(path, [*named, *overrides])
    with tempfile.TemporaryDirectory() as nowhere:
        loader = open_inputs(config, Workdir(nowhere)).loader
        loader.check()
        found = bench(loader, seconds=args.seconds)
    _print(found, pace=args.pairs_per_second)
    if args.json:
        figures = dataclasses.asdict(found) | dict(core_ms=found.core_ms, limit=found.limit)
        if args.pairs_per_second:
            figures |= dict(
                pairs_per_second=args.pairs_per_second,
                cores_needed=found.cores_for(args.pairs_per_second),
            )
        write_json(args.json, figures)
        print(f"figures in {args.json}")


def _print(found: Any, *, pace: float | None) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("stage")
    for name in ("core ms a pair", "share", "pairs/s a core"):
        table.add_column(name, justify="right")
    for stage, spent in found.stages.items():
        share = f"{spent / found.core_ms:.1%}"
        table.add_row(stage, f"{spent:.3f}", share, f"{1e3 / spent:,.0f}" if spent else "")
    table.add_row("all", f"{found.core_ms:.3f}", "100.0%", f"{1e3 / found.core_ms:,.0f}")
    Console().print(table)
    print(f"the limit is {found.limit}; {found.bytes_a_sample:,.0f} bytes are read a pair")
    alone = 1e3 / found.core_ms
    print(
        f"by {found.how}: {found.loaded:,.0f} pairs/s on {found.cores} cores, "
        f"{found.loaded / alone:.2f} times one core"
    )
    print(f"{found.samples:,} pairs looked at, {found.rejected:,} rejected")
    if pace:
        print(
            f"{pace:,.0f} pairs/s need {found.cores_for(pace):,.1f} cores and "
            f"{pace * found.bytes_a_sample / 1e6:,.0f} MB/s of the store"
        )
