"""The end of a run: the table, the report, the export, and where everything lies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict
from rich.console import Console

from vlp.cli.evaluations import Evaluations
from vlp.cli.inputs import Inputs
from vlp.cli.report import draw_report
from vlp.cli.workdir import Workdir
from vlp.evals.results import print_results
from vlp.interop.export import check_model, export
from vlp.interop.parity import summary
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
    if results:
        print_results(results, console=Console())
    _say_rejects(inputs)
    exported = _export(config, workdir, results)
    _say_places(workdir, exported)


def check_export(config: ConfigDict, model_kwargs: dict[str, Any]) -> None:
    """Raises ValueError before training for a model that could not be exported after it."""
    if config.export:
        settings = config.export.to_dict()
        del settings["out"]
        check_model(model_kwargs, **settings)


def _export(config: ConfigDict, workdir: Workdir, results: list[dict[str, Any]]) -> dict[str, Path]:
    """Exports as the config says; returns what to name and where it lies."""
    if not config.export:
        return {}
    if jax.process_count() > 1:
        print(f"not exported from several processes: vlp export --workdir={workdir.path} ...")
        return {}
    settings = config.export.to_dict()
    folder = workdir.path / settings.pop("out")
    scores = {
        f"{result['data']} {name}": value
        for result in results
        for name, value in result["metrics"].items()
        if name.count("/") < 2  # whole data sets, not their groups
    }
    report = export(workdir.path, folder, metrics=scores, overwrite=True, **settings)
    print(f"exported, {summary(report)}")
    return {"exported": folder}


def _say_places(workdir: Workdir, exported: dict[str, Path]) -> None:
    places = {
        "report": workdir.report,
        "metrics": workdir.metrics,
        "TensorBoard": workdir.tensorboard,
        "checkpoints": workdir.checkpoints,
        "results": workdir.results,
    }
    for name, path in (places | exported).items():
        print(f"{name:12} {path}")
    print(f'{"try":12} vlp search --workdir={workdir.path} "a red heart"')


def _say_rejects(inputs: Inputs) -> None:
    rejected = sum(inputs.loader.rejects.values())
    if rejected:
        reasons = ", ".join(f"{name} {count:,}" for name, count in inputs.loader.rejects.items())
        print(f"{rejected:,} of {inputs.loader.seen:,} samples could not be used: {reasons}")
