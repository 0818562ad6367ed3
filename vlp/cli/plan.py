"""What a config's training step does on a machine that is not here, by the compiler.

  vlp plan --config=experiments/own_data.py:data=x.tar,model=clip/ViT-L/14 \\
      --config.model.precision=bfloat16 --page=plan.html \\
      --samples=400000000 --topology=v5e:16x16
  vlp plan --config=experiments/emoji.py --samples=3708 --topology=h100:8 --sweep
  vlp plan --config=experiments/emoji.py --samples=3708 --measure

The step is compiled as it would be there, on any Linux machine: for TPUs with libtpu (vlp[tpu]),
for GPUs with JAX's CUDA plugin (vlp[cuda]). Printed are its memory, its exchanges, how long it
takes and what is wrong with it, with the lines that made it; --json keeps all of that, --page makes
a page to look at. Nothing is asked of data that are not here: --samples says how many pairs there
are.

A step that does not fit is compiled again with settings that need less, the cheapest first, until
one fits: the mesh's axis fsdp, recomputation, micro-batches, the axis tensor, half the batch.

--sweep compiles the step with other batches, axes fsdp, recomputation and precision, every one with
every other, and marks those that nothing beats in both memory and speed; --sweep=batch,remat walks
some of these alone. What the compiler said is kept, so that a sweep that was cut off goes on.

--measure takes a few real steps, with random batches, on the devices that are here, and prints them
beside what was planned.

Times are estimates of what never ran. What is found of less than a megabyte is not printed.

  CHIP:SHAPE  v4:4x4x4, v5e:16x16, v5p:8x8x8, v6e:16x16, tpu7x:4x4x4 (TPUs, in chips);
              a100:32, h100:64, h200:8, b200:8 (GPUs, in hosts of eight)
"""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vlp.cli.arguments import local_path
from vlp.cli.overrides import add_config_argument
from vlp.cli.parser import UsageError

Compiled = Callable[[list[str]], tuple[Any, Any]]  # by further flags, a plan and its whole run
SUMMARY = "compile a config's step for a machine that is not here: memory, time, what is wrong"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vlp plan`."""
    from vlp.cli.plan_sweep import AXES, sweep_axes

    add_config_argument(parser)
    parser.add_argument("--topology", metavar="CHIP:SHAPE", help="see above")
    what = "of TPUs that a data-centre network connects, laid along mesh.data (default %(default)s)"
    parser.add_argument("--slices", type=int, default=1, metavar="N", help=what)
    parser.add_argument("--samples", type=int, metavar="N", help="pairs in the training data")
    parser.add_argument("--price", type=float, default=0.0, metavar="P", help="of a chip-hour")
    parser.add_argument(
        "--bytes-a-picture", type=float, metavar="B", help="as stored, on average (default 50000)"
    )
    parser.add_argument(
        "--sweep", nargs="?", const=AXES, type=sweep_axes, metavar="AXES",
        help=f"walk these settings (default {','.join(AXES)})",
    )  # fmt: skip
    parser.add_argument("--measure", action="store_true", help="run the step on what is here")
    parser.add_argument(
        "--no-cache", action="store_true", help="ask the compiler again, and keep nothing"
    )
    parser.add_argument(
        "--json", type=local_path, metavar="FILE", help="write all figures to this file"
    )
    parser.add_argument("--page", type=local_path, metavar="FILE.html", help="write a page")


def run(args: argparse.Namespace, overrides: list[str]) -> None:
    """Compiles, and prints what was found."""
    _check(args)
    if args.measure:
        from vlp.cli.plan_measure import measure

        measure(args, overrides)
        return
    os.environ["JAX_PLATFORMS"] = "cpu"
    from vlp.cli.config import load_config
    from vlp.planning.topology import open_topology
    from vlp.run.planned import planned

    def changed(flags: list[str]) -> Any:
        return load_config(args.config, [*overrides, *flags])

    config = changed([])
    topology = open_topology(args.topology, slices=args.slices)

    def compiled(flags: list[str]) -> tuple[Any, Any]:
        """The plan with further flags, and its whole run."""
        found, steps = planned(
            changed(flags), topology, samples_per_epoch=args.samples, cache=_cache(args)
        )
        return found, _whole_run(args, steps)

    if args.sweep:
        from vlp.cli.plan_sweep import sweep

        sweep(args, config, topology, changed, compiled)
    else:
        asked = " ".join([args.config, *overrides])
        _plan(args, config, topology, compiled, asked=asked)


def _check(args: argparse.Namespace) -> None:
    """Raises UsageError where flags do not go together."""
    if args.measure == bool(args.topology):
        raise UsageError(
            "vlp plan needs either --topology=CHIP:SHAPE, a machine that is not here, or "
            "--measure, to run on the devices that are"
        )
    others = (args.sweep, args.page, args.price, args.no_cache, args.bytes_a_picture)
    if args.measure and (any(others) or args.slices > 1):
        raise UsageError("--measure goes with --config, --samples and --json alone")
    if args.bytes_a_picture is not None and args.bytes_a_picture <= 0:
        raise UsageError(f"--bytes-a-picture must be above 0, got {args.bytes_a_picture:g}")


def _plan(
    args: argparse.Namespace, config: Any, topology: Any, compiled: Compiled, *, asked: str
) -> None:
    """One plan, and what makes it fit if it does not."""
    from rich.console import Console

    from vlp.files import write_json, write_text
    from vlp.planning.saying import as_json

    console = Console(stderr=True)

    def shown(flags: list[str]) -> tuple[Any, Any]:
        with console.status(f"compiling {' '.join(flags) or 'the step'} for {args.topology}"):
            return compiled(flags)

    found, whole = shown([])
    _print(found, whole)
    figures = as_json(found, whole)
    if args.page:
        from vlp.planning.page import plan_page

        page = plan_page(found, whole, config=asked, source=topology.chip.source)
        write_text(args.page, page)
        print(f"page in {args.page}")
    if not found.memory.fits:
        figures["tried"] = _tried(config, found, topology.devices, shown)
    if args.json:
        write_json(args.json, figures)
        print(f"figures in {args.json}")


def _cache(args: argparse.Namespace) -> Path | None:
    """Where the compiler's answers are kept; None where they are not."""
    from data_pipelines.caches import cache_folder

    return None if args.no_cache else cache_folder("plans")


def _whole_run(args: argparse.Namespace, steps: int) -> Any:
    """The whole run that flags describe."""
    from vlp.planning.feeding import BYTES_A_PICTURE
    from vlp.planning.saying import Run

    size = args.bytes_a_picture or BYTES_A_PICTURE
    return Run(steps=steps, price=args.price, bytes_a_picture=size)


def _tried(config: Any, found: Any, devices: Any, compiled: Compiled) -> list[dict[str, Any]]:
    """Settings with which the step needs less, until one fits; prints them."""
    from vlp.run.remedies import remedies

    tried: list[dict[str, Any]] = []
    for flags in remedies(config, found.mesh, devices):
        try:
            memory = compiled(flags)[0].memory
        except ValueError as error:  # such as heads that an axis does not divide
            tried.append({"flags": flags, "why": str(error)})
            print(f"with {' '.join(flags)}: {error}")
            continue
        tried.append({"flags": flags, "total": memory.total, "fits": memory.fits})
        verdict = "fits" if memory.fits else "does not fit either"
        print(f"with {' '.join(flags)}: {memory.total / 1e9:,.2f} GB a device, {verdict}")
        if memory.fits:
            return tried
    print("nothing that was tried makes it fit: take a smaller batch, or more or larger chips")
    return tried


def _print(found: Any, whole: Any) -> None:
    from rich.console import Console
    from rich.table import Table

    from vlp.planning.saying import EXCHANGES, exchanges, summary

    console = Console(width=max(Console().width, 100))
    table = Table(box=None, show_header=False, pad_edge=False)
    for row in summary(found, whole):
        table.add_row(*row)
    console.print(table)
    if found.collectives:
        table = Table(*EXCHANGES, box=None)
        for kind in exchanges(found):
            table.add_row(*kind)
        console.print(table)
    for finding in found.findings[:20]:
        console.print(f"! {finding.what}" + (f"  ({finding.source})" if finding.source else ""))
    left = len(found.findings) - 20
    if left > 0:
        console.print(f"! {left} more findings; --json keeps all")
    if found.kept:
        console.print("the compiler's answer is kept from an earlier plan (--no-cache asks anew)")
