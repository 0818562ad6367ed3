"""The report of a run: one HTML page drawn from its metrics, results and embedded pictures."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from data_pipelines.evaluation import sample_pixels
from data_pipelines.sources.fingerprints import same_data
from vlp.evals.examples import choose, image_queries, text_queries
from vlp.evals.report import write_report
from vlp.evals.retrieval import both_ranks
from vlp.jobs.evaluator import Evaluator
from vlp.jobs.gallery import Gallery
from vlp.jobs.labels import metadata
from vlp.run.report_sounds import sound_queries
from vlp.run.sets import data_name
from vlp.run.values import flatten
from vlp.run.workdir import Workdir

PERF = ("perf/pairs_per_s", "perf/step_s", "perf/data_wait_s", "perf/mfu", "perf/peak_memory_gb")


def draw_report(
    config: ConfigDict,
    workdir: Workdir,
    *,
    results: list[dict[str, Any]],
    evaluator: Evaluator,
    gallery: Gallery | None,
    failed: Sequence[str] = (),
    time: Mapping[str, str],
) -> None:
    """Writes `report.html` into the workdir.

    Args:
        config: of the run.
        workdir: of the run.
        results: of its evaluations, the first for the headline.
        evaluator: the run's encoder.
        gallery: the embedded data whose pictures are shown, or None for no pictures.
        failed: a sentence on each evaluation that was left out.
        time: what it went into, over all starts of the run.
    """
    rows = workdir.metrics_rows()
    texts, images = _queries(gallery) if gallery is not None else ([], [])
    written = _written(results, gallery) if gallery is not None else []
    write_report(
        workdir.report,
        title=workdir.name,
        lead=f"{config.objective.name} on {data_name(config)}, {evaluator.step:,} steps",
        metrics_rows=rows,
        results=results,
        text_queries=texts,
        image_queries=images,
        sound_queries=sound_queries(evaluator, results),
        facts=_facts(config, workdir, rows, time),
        attribution=list(config.attribution),
        written=written,
        failed=failed,
    )


def _queries(gallery: Gallery) -> tuple[list[Any], list[Any]]:
    """A dozen text queries and half a dozen images, varied and with some failures."""
    common: dict[str, Any] = dict(
        zimg=gallery.zimg,
        ztxt=gallery.ztxt,
        image_of_text=gallery.image_of_text,
        captions=gallery.texts,
        image_at=lambda row: sample_pixels(gallery.source, int(gallery.ids[row])),
    )
    owners = gallery.image_of_text
    asked = np.unique(owners)
    ranks = both_ranks(gallery.zimg, gallery.ztxt, owners)
    kinds = [str(metadata(gallery.source, int(i)).get("category")) for i in gallery.ids]
    texts = choose(ranks.texts, count=12, kinds=[kinds[row] for row in owners])
    of_asked = [kinds[row] for row in asked]
    images = choose(ranks.images, count=8, misses=2, top=5, kinds=of_asked, seed=1)
    return text_queries(texts, **common), image_queries([int(asked[i]) for i in images], **common)


def _written(results: list[dict[str, Any]], gallery: Gallery) -> list[dict[str, Any]]:
    """The examples of captions that were written for pictures of this gallery."""
    return [
        {**example, "image": sample_pixels(gallery.source, example["sample"])}
        for result in results
        if same_data(result["fingerprint"], gallery.source.fingerprint)
        for example in result.get("examples", ())
    ]


def _facts(
    config: ConfigDict, workdir: Workdir, rows: list[dict[str, Any]], time: Mapping[str, str]
) -> dict[str, Any]:
    """What was run, on what, and how fast."""
    known = json.loads(workdir.versions.read_text())
    speed = {}
    for name in PERF:
        values = [row[name] for row in rows if row.get(name) is not None]
        if values:
            speed[name.removeprefix("perf/")] = f"{np.median(values):,.3g}"
    skipped = Counter(bool(row.get("train/skipped")) for row in rows)[True]
    settings = flatten(config.to_dict())
    return {
        "machine": {key: known[key] for key in ("device", "devices", "processes", "seed")},
        "versions": known["versions"],
        "speed (median a step)": speed | {"skipped steps": skipped},
        "time, all starts": dict(time),
        "config": {key: settings[key] for key in sorted(settings) if key != "attribution"},
    }
