"""`vlp plan --sweep`: a config's step with other settings, each with every other."""

import argparse
from collections.abc import Callable
from typing import Any

AXES = ("batch", "fsdp", "remat", "precision")


def sweep_axes(value: str) -> tuple[str, ...]:
    """The axes that a flag names, as argparse's `type`.

    Raises:
        ArgumentTypeError: there is no such axis, or one twice.
    """
    axes = tuple(value.split(","))
    if len(set(axes)) < len(axes) or not set(axes) <= set(AXES):
        raise argparse.ArgumentTypeError(
            f"must be some of {','.join(AXES)}, each once, got {value}"
        )
    return axes


def sweep(
    args: argparse.Namespace,
    config: Any,
    topology: Any,
    changed: Callable[[list[str]], Any],
    planned: Callable[[list[str]], tuple[Any, Any]],
) -> None:
    """Plans every point, shows how far it is, and prints a table.

    Args:
        args: of the command.
        config: whose settings are walked.
        topology: the machine.
        changed: that config with further flags.
        planned: the plan of it, and its whole run.
    """
    from rich.console import Console
    from rich.table import Table

    from vlp.files import write_json, write_text
    from vlp.jobs.progress import counting
    from vlp.planning.frontier import RESULTS, Tried, as_rows, best, cells
    from vlp.run.sweep import points, walk

    wanted = points(config, topology.devices, args.sweep, changed=changed)
    tried: list[Tried] = []
    with counting(f"compiling for {args.topology}", len(wanted)) as show:
        for each in walk(wanted, planned):
            tried.append(each)
            show(len(tried))
    frontier = best(tried)
    console = Console(width=max(Console().width, 100))
    table = Table("", *args.sweep, *RESULTS, box=None)
    for place, each in enumerate(tried):
        table.add_row("*" if place in frontier else "", *cells(each))
    console.print(table)
    console.print("* fits, and no other takes both less memory and less time a pair")
    kept = sum(bool(each.plan and each.plan.kept) for each in tried)
    if kept:
        console.print(f"{kept} of {len(tried)} are kept from earlier (--no-cache asks anew)")
    if args.page:
        from vlp.planning.frontier_page import frontier_page

        page = frontier_page(tried, topology=args.topology, config=args.config)
        write_text(args.page, page)
        print(f"page in {args.page}")
    if args.json:
        write_json(args.json, {"topology": args.topology, "tried": as_rows(tried)})
        print(f"figures in {args.json}")
