"""Balancing a data set by what its captions speak of.

A caption belongs to every query that stands in it as whole words.

References:
  Radford et al., 2021 (CLIP), https://arxiv.org/abs/2103.00020, section 2.2: 500,000 queries, up to
  20,000 pairs of each. Xu et al., 2023 (MetaCLIP), https://arxiv.org/abs/2309.16671, section 3: a
  pair stays with the probability t / count for each of its queries.
"""

import hashlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import apache_beam as beam

from data_pipelines.checks import check_choice, check_whole
from data_pipelines.jobs.facts import all_facts
from data_pipelines.jobs.verdicts import Verdict
from data_pipelines.jobs.words import Phrases
from data_pipelines.jobs.work import Work

METHODS = ("clip", "metaclip")
NO_QUERY, ENOUGH = "no query", "enough of its queries"
_Drawn = tuple[int, tuple[float, int]]  # a query; a number in [0, 1) and a sample


def by_queries(
    made: beam.Pipeline,
    *,
    work: Work,
    queries: tuple[str, ...],
    method: str,
    most: int,
    seed: int = 0,
) -> beam.PCollection:
    """Verdicts on all readable samples: which queries a kept one stands for, why others go.

    The draws are functions of (seed, query, sample).

    Args:
      made: a pipeline.
      work: the data, whose facts are there.
      queries: words and phrases.
      method: "clip", at most `most` pairs of each query; "metaclip", `most` expected of each.
      most: see there.
      seed: of the draws.
    """
    check_choice("method", method, METHODS)
    check_whole("most", most)
    facts = all_facts(made, work) | "readable" >> beam.Filter(lambda fact: not fact["reject"])
    pairs = facts | "match" >> beam.FlatMap(partial(_matches, Phrases(queries), seed))
    if method == "clip":
        chosen = pairs | "fewest draws" >> beam.combiners.Top.SmallestPerKey(most)
        kept = chosen | "kept pairs" >> beam.FlatMapTuple(
            lambda query, drawn: [(index, query) for _, index in drawn]
        )
    else:
        counts = pairs | beam.combiners.Count.PerKey()
        kept = (
            {"drawn": pairs, "count": counts}
            | "beside count" >> beam.CoGroupByKey()
            | "draw" >> beam.FlatMapTuple(partial(_draw, most))
        )
    matched = pairs | "matched" >> beam.MapTuple(lambda _, drawn: (drawn[1], None))
    everything = facts | "everything" >> beam.Map(lambda fact: (fact["index"], None))
    return (
        {"kept": kept, "matched": matched, "everything": everything}
        | "by sample" >> beam.CoGroupByKey()
        | "say" >> beam.MapTuple(partial(_say, queries))
    )


def _matches(phrases: Phrases, seed: int, fact: dict[str, Any]) -> Iterator[_Drawn]:
    """Of each query in a sample's captions its number, with a draw and the sample."""
    found = {query for caption in fact["captions"] for query in phrases.found(caption)}
    for query in sorted(found):
        yield query, (_drawn(seed, query, fact["index"]), fact["index"])


def _drawn(*numbers: int) -> float:
    """A number in [0, 1) that looks drawn and is a function of these."""
    text = ",".join(map(str, numbers)).encode()
    digest = hashlib.blake2b(text, digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53


def _draw(most: int, query: int, groups: dict[str, Any]) -> Iterator[tuple[int, int]]:
    (count,) = groups["count"]
    for drawn, index in groups["drawn"]:
        if drawn < most / count:
            yield index, query


def _say(queries: tuple[str, ...], index: int, groups: dict[str, Any]) -> Verdict:
    kept = sorted(groups["kept"])
    if kept:
        return index, {"queries": [queries[query] for query in kept]}
    return index, {"reason": ENOUGH if any(True for _ in groups["matched"]) else NO_QUERY}
