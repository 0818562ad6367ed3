"""The end of a run: the table, the report, the export, and where everything lies."""

import multiprocessing
import shlex
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict
from rich.console import Console

from data_pipelines.evaluation import eval_captions
from data_pipelines.faults import shown
from data_pipelines.sources import Source
from data_pipelines.sources.part import PartSource
from vlp.evals.results import print_results
from vlp.interop.export import export
from vlp.interop.parity import FILE as PARITY
from vlp.interop.parity import summary
from vlp.jobs.gallery import Gallery
from vlp.parallel.together import wait_for_all
from vlp.remote import Place, names_in
from vlp.run.prepare import Prepared
from vlp.run.rejects import said
from vlp.run.report import draw_report
from vlp.run.workdir import Workdir
from vlp.terminal import called, set_up_logging
from vlp.training.loop.loop import Outcome, Pause

FINISH_S = 6 * 3600  # for process 0 to report and export, while the others wait


def finish(
    config: ConfigDict,
    outcome: Outcome,
    prepared: Prepared,
    workdir: Workdir,
    *,
    read: int,
    rejects: Counter[str],
    pause: Pause,
) -> None:
    """Evaluates if that is still to be done, draws the report, exports, and says where all is.

    Args:
        config, outcome, prepared, workdir: of the run.
        read, rejects: samples that all processes have read, and the bad ones by reason.
        pause: entered while it evaluates.
    """
    evaluations, at = prepared.evaluations, (outcome.step, outcome.state)
    with outcome.account.timed("evaluation"):
        results = evaluations.all(*at, pause=pause)
        gallery = evaluations.gallery(*at, pause=pause)
    if jax.process_index() != 0:
        wait_for_all("finished", timeout_s=FINISH_S)
        return
    evaluator = evaluations.evaluator(*at)
    draw_report(
        config,
        workdir,
        results=results,
        evaluator=evaluator,
        gallery=gallery,
        failed=evaluations.failed,
        time=outcome.account.facts(),
    )
    if results:
        print_results(results, console=Console())
    if rejects:
        print(said(read, rejects))
    exported = _export(config, workdir, results)
    _say_places(workdir, exported)
    _say_try(workdir, gallery, prepared.inputs.source)
    for failure in evaluations.failed:
        print(f"{'left out':12} {failure}")
    wait_for_all("finished", timeout_s=FINISH_S)


def _export(config: ConfigDict, workdir: Workdir, results: list[dict[str, Any]]) -> dict[str, Path]:
    """Exports as the config says; returns what to name and where it lies."""
    if not config.export:
        return {}
    settings = config.export.to_dict()
    folder = workdir.path / settings.pop("out")
    scores = {
        f"{result['data']} {name}": value
        for result in results
        for name, value in result["metrics"].items()
        if name.count("/") < 2  # whole data sets, not their groups
    }
    settings |= dict(metrics=scores, overwrite=True)
    make = _export_alone if jax.process_count() > 1 else export
    print(f"exported, {summary(make(workdir.address, folder, **settings))}")
    workdir.put_up_folder(folder, last=PARITY)
    return {"exported": folder}


def _export_alone(*paths: Place, **settings: Any) -> dict[str, Any]:
    """As `export`, in a process that is none of the run's: those would read a checkpoint together,
    and hold the memory of their devices."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, initializer=_on_cpu) as pool:
        return pool.submit(export, *paths, **settings).result()


def _on_cpu() -> None:
    set_up_logging()
    jax.config.update("jax_platforms", "cpu")


def _say_places(workdir: Workdir, exported: dict[str, Path]) -> None:
    places = {
        "report": workdir.report,
        "metrics": workdir.metrics,
        "data": workdir.data,
        "checkpoints": workdir.path / workdir.checkpoints.name,
        "results": workdir.results,
        "rejects": workdir.rejects,
    }
    there = {workdir.checkpoints.name, *names_in(workdir.path)}
    for name, path in (places | exported).items():
        if path.relative_to(workdir.path).parts[0] in there:
            print(f"{name:12} {workdir.address_of(path)}")
    if workdir.tensorboard.exists():
        missing = find_spec("tensorboard") is None
        first = "pip install tensorboard; " if missing else ""
        logs = _quoted(workdir.address_of(workdir.tensorboard))
        print(f"{'TensorBoard':12} {first}tensorboard --logdir={logs}")


def _say_try(workdir: Workdir, gallery: Gallery | None, source: Source) -> None:
    """A search that finds something: by a caption of the data that is searched."""
    some = PartSource(source, 0, min(16, len(source)))
    if texts := gallery.texts if gallery is not None else eval_captions(some).texts:
        query = shlex.quote(shown(texts[0]))
        print(f"{'try':12} {called()} search --workdir={_quoted(workdir.address)} {query}")


def _quoted(path: Place) -> str:
    return shlex.quote(str(path))
