"""`vlp plan --measure`: a config's step planned and really run, on the devices that are here."""

import argparse
from typing import Any

STEPS = 5  # that are timed


def measure(args: argparse.Namespace, overrides: list[str]) -> None:
    """Runs a few steps and prints them beside their plan."""
    import jax
    from rich.console import Console
    from rich.table import Table

    from vlp.cli.config import load_config
    from vlp.files import write_json
    from vlp.parallel import mesh
    from vlp.planning import measuring
    from vlp.run.planned import prepared

    topology = measuring.here(jax.devices())
    config = load_config(args.config, overrides)
    made = prepared(config, topology, samples_per_epoch=args.samples)
    with Console(stderr=True).status(f"compiling and running the step on {topology.name}"):
        plan, taken = measuring.measure(
            made.training, made.shapes, topology, low=made.low, steps=STEPS
        )
    console = Console(width=max(Console().width, 100))
    title = f"{topology.name}, mesh {mesh.said(plan.mesh)}, {plan.global_batch:,} pairs a step"
    table = Table("", "planned", "measured", "ratio", box=None, title=title)
    for row in measuring.beside(plan, taken):
        table.add_row(*row)
    console.print(table)
    console.print(f"Measured: the median of {STEPS} steps, and the most memory that was in use.")
    if not topology.chip.peak:
        console.print(f"There are no figures of {topology.name}: its time is not planned.")
    if args.json:
        write_json(args.json, _figures(plan, taken, made.steps))
        print(f"figures in {args.json}")


def _figures(plan: Any, taken: Any, steps: int) -> dict[str, Any]:
    from vlp.planning.saying import Run, as_json

    measured = {"seconds": list(taken.seconds), "median": taken.median, "peak": taken.peak}
    return {"planned": as_json(plan, Run(steps=steps)), "measured": measured}
