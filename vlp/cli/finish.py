"""The end of a run: the table, the report, the export, and where everything lies."""

from __future__ import annotations

from typing import Any

import jax
from ml_collections import ConfigDict
from rich.console import Console
from rich.table import Table

from vlp.cli.evaluations import Evaluations
from vlp.cli.inputs import Inputs
from vlp.cli.report import draw_report
from vlp.cli.workdir import Workdir
from vlp.evals.results import print_results
from vlp.interop.export import export
from vlp.training.loop import Outcome


def finish(
    config: ConfigDict,
    outcome: Outcome,
    evaluations: Evaluations,
    inputs: Inputs,
    workdir: Workdir,
) -> None:
    """Evaluates if that is still to be done, draws the report, exports, and says where all is."""
    results = evaluations.all(outcome.step, outcome.state)
    judge = evaluations.judge(outcome.step, outcome.state)
    gallery = judge.gallery(config.report.data) if config.report.data else None
    if jax.process_index() != 0:
        return
    draw_report(config, workdir, results=results, judge=judge, gallery=gallery)
    exported = _export(config, workdir)
    console = Console()
    if results:
        print_results(results, console=console)
    console.print(_places(workdir, exported))
    _say_rejects(inputs)


def _export(config: ConfigDict, workdir: Workdir) -> dict[str, str]:
    if not config.export:
        return {}
    folder = workdir.path / config.export.out
    export(workdir.path, folder, to=config.export.to, overwrite=True)
    return {"exported": str(folder)}


def _places(workdir: Workdir, exported: dict[str, str]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    places: dict[str, Any] = {
        "report": workdir.report,
        "metrics": workdir.metrics,
        "TensorBoard": workdir.tensorboard,
        "checkpoints": workdir.checkpoints,
        "results": workdir.results,
    }
    for name, path in (places | exported).items():
        table.add_row(name, str(path))
    table.add_row("try", f'vlp search --workdir={workdir.path} "a red heart"')
    return table


def _say_rejects(inputs: Inputs) -> None:
    rejected = sum(inputs.loader.rejects.values())
    if rejected:
        reasons = ", ".join(f"{name} {count:,}" for name, count in inputs.loader.rejects.items())
        print(f"{rejected:,} of {inputs.loader.seen:,} samples could not be used: {reasons}")
