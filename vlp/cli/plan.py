"""What a config's training step does on a machine that is not here, by the compiler.

  vlp plan --config=experiments/own_data.py:data=x.tar,model=clip/ViT-L/14 \\
      --config.model.precision=bfloat16 \\
      --samples=400000000 --topology=v5e:16x16
  vlp plan --config=experiments/emoji.py --samples=3708 --topology=h100:8

The step is compiled as it would be there, on any Linux machine: for TPUs with libtpu (vlp[tpu]),
for GPUs with JAX's CUDA plugin (vlp[cuda]). Printed are its memory, its exchanges, how long it
takes and what is wrong with it, with the lines that made it; --json keeps all of that. Nothing is
asked of data that are not here: --samples says how many pairs there are.

A step that does not fit is compiled again with settings that need less, the cheapest first, until
one fits: the mesh's axis fsdp, recomputation, micro-batches.

Times are estimates of what never ran. What is found of less than a megabyte is not printed.

  CHIP:SHAPE  v4:4x4x4, v5e:16x16, v5p:8x8x8, v6e:16x16, tpu7x:4x4x4 (TPUs, in chips);
              a100:32, h100:64, h200:8, b200:8 (GPUs, in hosts of eight)
"""

import argparse
from typing import Any

from vlp.cli.arguments import local_path
from vlp.cli.overrides import add_config_argument

SUMMARY = "compile a config's step for a machine that is not here: memory, time, what is wrong"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vlp plan`."""
    add_config_argument(parser)
    parser.add_argument("--topology", required=True, metavar="CHIP:SHAPE", help="see above")
    what = "of TPUs that a data-centre network connects, laid along mesh.data (default %(default)s)"
    parser.add_argument("--slices", type=int, default=1, metavar="N", help=what)
    parser.add_argument("--samples", type=int, metavar="N", help="pairs in the training data")
    parser.add_argument("--price", type=float, default=0.0, metavar="P", help="of a chip-hour")
    parser.add_argument(
        "--json", type=local_path, metavar="FILE", help="write all figures to this file"
    )


def run(args: argparse.Namespace, overrides: list[str]) -> None:
    """Compiles, and prints what was found."""
    import os

    os.environ["JAX_PLATFORMS"] = "cpu"
    from rich.console import Console

    from vlp.cli.config import load_config

    config = load_config(args.config, overrides)
    from vlp.files import write_json
    from vlp.planning.saying import Run, as_json
    from vlp.planning.topology import open_topology
    from vlp.run.planned import planned

    topology = open_topology(args.topology, slices=args.slices)
    console = Console(stderr=True)

    def compiled(config: Any, what: str) -> tuple[Any, int]:
        with console.status(f"compiling {what} for {args.topology}"):
            return planned(config, topology, samples_per_epoch=args.samples)

    found, steps = compiled(config, "the step")
    whole = Run(steps=steps, price=args.price)
    _print(found, whole)
    figures = as_json(found, whole)
    if not found.memory.fits:
        figures["tried"] = _tried(args.config, overrides, found, topology.devices, compiled)
    if args.json:
        write_json(args.json, figures)
        print(f"figures in {args.json}")


def _tried(
    name: str, overrides: list[str], found: Any, devices: Any, compiled: Any
) -> list[dict[str, Any]]:
    """Settings with which the step needs less, until one fits; prints them."""
    from vlp.cli.config import load_config
    from vlp.run.remedies import remedies

    tried: list[dict[str, Any]] = []
    config = load_config(name, overrides)
    for flags in remedies(config, found.mesh, devices):
        memory = compiled(load_config(name, [*overrides, *flags]), " ".join(flags))[0].memory
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

    from vlp.planning.saying import exchanges, summary

    console = Console(width=max(Console().width, 100))
    table = Table(box=None, show_header=False, pad_edge=False)
    for row in summary(found, whole):
        table.add_row(*row)
    console.print(table)
    if found.collectives:
        table = Table("exchange", "axes", "link", "a step", "MB", "ms alone", box=None)
        for kind in exchanges(found):
            table.add_row(*kind)
        console.print(table)
    for finding in found.findings[:20]:
        console.print(f"! {finding.what}" + (f"  ({finding.source})" if finding.source else ""))
    left = len(found.findings) - 20
    if left > 0:
        console.print(f"! {left} more findings; --json keeps all")
