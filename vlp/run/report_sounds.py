"""Sounds with what was found for them, for the report of a run whose model hears."""

from collections import Counter
from typing import Any

import numpy as np

from data_pipelines.evaluation import sample_pixels
from data_pipelines.sources.fingerprints import same_data
from vlp.evals.examples import choose, image_queries, text_queries
from vlp.evals.ranks import gallery_ranks
from vlp.jobs.between import both_rows
from vlp.jobs.evaluator import Evaluator
from vlp.jobs.gallery import Gallery
from vlp.jobs.labels import metadata
from vlp.jobs.search import called


def sound_queries(
    evaluator: Evaluator, results: list[dict[str, Any]]
) -> list[tuple[str, list[dict[str, Any]]]]:
    """A dozen sounds of each retrieval by sounds, with the pictures or names found first.

    Args:
        evaluator: which the results are of; what it embedded for them is not embedded again.
        results: of evaluations, also others.

    Returns:
        The name of the data, and what `vlp.evals.report.write_report` shows of each sound.
    """
    found = []
    for result in results:
        between = result["settings"].get("between", "")
        for data, source in evaluator.sources.items():
            if "audio" in between.split("-") and same_data(
                result["fingerprint"], source.fingerprint
            ):
                captions = result["settings"].get("captions", "first")
                found.append((result["data"], _dozen(evaluator, data, between, captions)))
                break
    return found


def _dozen(evaluator: Evaluator, data: str, between: str, captions: str) -> list[dict[str, Any]]:
    rows, queries, row_of_query, pair = both_rows(
        evaluator, data, between=between, captions=captions
    )
    names_found = pair == "audio-text"  # else sounds are the queries, and pictures are found
    source = rows.source
    said = [called(source, int(sample)) for sample in rows.ids]
    asked = _of_a_name_of_their_own(row_of_query, said) if names_found else row_of_query
    of_queries, of_rows = gallery_ranks(rows.zimg, queries, row_of_query)
    ranks = of_rows.missed[asked] if names_found else of_queries.missed
    samples = rows.ids[asked]
    kinds = [str(metadata(source, int(sample)).get("category")) for sample in samples]
    chosen = choose(ranks, count=12, top=5 if names_found else 6, kinds=kinds)
    common: dict[str, Any] = dict(
        zimg=rows.zimg,
        ztxt=queries,
        image_of_text=row_of_query,
        captions=rows.texts if isinstance(rows, Gallery) else [said[row] for row in row_of_query],
    )

    if names_found:
        asking_rows = [int(asked[i]) for i in chosen]
        shown = image_queries(asking_rows, **common, image_at=lambda row: None, top=100)
        shown = [query | {"found": _each_name_once(query["found"])[:5]} for query in shown]
    else:
        common["image_at"] = lambda row: sample_pixels(source, int(rows.ids[row]))
        shown = text_queries(chosen, **common)
    sounds = [source.audio(int(samples[i])) for i in chosen]
    return [query | {"sound": sound} for query, sound in zip(shown, sounds, strict=True)]


def _each_name_once(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without names that stand further up already; of skin tones, say, which no sound tells."""
    once: dict[str, dict[str, Any]] = {}
    for item in found:
        once.setdefault(item["caption"], item)
    return list(once.values())


def _of_a_name_of_their_own(rows: np.ndarray, said: list[str]) -> np.ndarray:
    """The rows of which no other has the same name: only these can be answered with one tick."""
    count, asked = Counter(said), np.unique(rows)
    alone = asked[[count[said[row]] == 1 for row in asked]]
    return alone if len(alone) else asked
