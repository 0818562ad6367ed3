"""What a data set is like in numbers: counts, and distributions in bins."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import apache_beam as beam

from data_pipelines.files import write_json
from data_pipelines.jobs.facts import all_facts
from data_pipelines.jobs.runners import pipeline
from data_pipelines.jobs.work import Work

STATISTICS = "statistics.json"
# The lower edges of bins; the last has no upper one.
EDGES: dict[str, tuple[float, ...]] = {
    "shorter side, pixels": (0, 32, 64, 128, 200, 256, 384, 512, 768, 1024, 2048),
    "longer by shorter side": (1, 1.1, 1.25, 1.5, 2, 3, 5, 10),
    "size of the file, KiB": (0, 4, 16, 64, 256, 1024, 4096, 16384),
    "contrast, deviation of brightness": (0, 2, 8, 16, 32, 48, 64, 96),
    "words a caption": (0, 1, 2, 3, 5, 8, 12, 20, 40, 77, 200),
    "characters a caption": (0, 5, 10, 20, 40, 80, 160, 320, 1000),
    "captions a sample": (0, 1, 2, 3, 5, 10),
}
_KIB = 1024


def gather_statistics(work: Work, flags: Sequence[str]) -> dict[str, Any]:
    """The statistics of data whose facts are there, also written to the folder of the work.

    Returns:
      `samples`; `rejects`, counts by reason; `equal pictures`, how many repeat another's file; and
      `distributions`, by the names of `EDGES` a list of [lower edge, count].
    """
    with pipeline(flags) as made:
        facts = all_facts(made, work)
        counts = facts | "count" >> beam.CombineGlobally(_Counts()) | beam.Map(lambda n: (None, n))
        repeats = (
            facts
            | beam.Filter(lambda fact: fact["sha256"])
            | "equal" >> beam.Map(lambda fact: (fact["sha256"], 1))
            | beam.CombinePerKey(sum)
            | "repeats" >> beam.Map(lambda pair: pair[1] - 1)
            | "all repeats" >> beam.CombineGlobally(sum)
            | "beside counts" >> beam.Map(lambda n: (None, n))
        )
        _ = (
            {"counts": counts, "repeats": repeats}
            | beam.CoGroupByKey()
            | "write" >> beam.MapTuple(partial(_write, work))
        )
    return read_statistics(work)


def read_statistics(work: Work) -> dict[str, Any]:
    """What `gather_statistics` wrote."""

    return json.loads((work.out / STATISTICS).read_text(encoding="utf-8"))


def _write(work: Work, _: None, groups: dict[str, Iterable[Any]]) -> None:
    (counts,), (repeats,) = groups["counts"], groups["repeats"]
    rejects = {what: n for (name, what), n in counts.items() if name == "reject"}
    distributions = {
        name: [[edge, counts[name, edge]] for edge in edges] for name, edges in EDGES.items()
    }
    write_json(
        work.out / STATISTICS,
        {
            "samples": work.samples,
            "rejects": dict(sorted(rejects.items(), key=lambda item: (-item[1], item[0]))),
            "equal pictures": repeats,
            "distributions": distributions,
        },
    )


class _Counts(beam.CombineFn):
    """Counts of reasons and of bins."""

    def create_accumulator(self) -> Counter[tuple[str, Any]]:
        return Counter()

    def add_input(self, counts: Counter[tuple[str, Any]], fact: dict[str, Any]):
        if fact["reject"]:
            counts["reject", fact["reject"]] += 1
        for name, values in _values(fact).items():
            counts.update((name, _edge(EDGES[name], value)) for value in values)
        return counts

    def merge_accumulators(self, many: Iterable[Counter[tuple[str, Any]]]):
        return sum(many, Counter())

    def extract_output(self, counts: Counter[tuple[str, Any]]):
        return counts


def _values(fact: dict[str, Any]) -> dict[str, list[float]]:
    """The numbers of a sample that are known, by the names of `EDGES`."""
    captions = fact["captions"]
    found: dict[str, list[float]] = {
        "words a caption": [len(caption.split()) for caption in captions],
        "characters a caption": [len(caption) for caption in captions],
        "captions a sample": [len(captions)],
    }
    if fact["width"]:
        shorter, longer = sorted((fact["width"], fact["height"]))
        found |= {
            "shorter side, pixels": [shorter],
            "longer by shorter side": [longer / shorter],
            "size of the file, KiB": [fact["bytes"] / _KIB],
            "contrast, deviation of brightness": [fact["spread"]],
        }
    return found


def _edge(edges: tuple[float, ...], value: float) -> float:
    return max(edge for edge in edges if edge <= value)
