"""Captions to labels: each sample's nouns as numbers of a pruned vocabulary of synsets.

References:
  Mehta et al., 2024 (CatLIP), https://arxiv.org/abs/2404.15653, section 3.
"""

import functools
from functools import partial
from pathlib import Path
from typing import Any

import apache_beam as beam

from data_pipelines.checks import check_whole
from data_pipelines.files import write_whole
from data_pipelines.jobs.facts import all_facts
from data_pipelines.jobs.verdicts import Verdict
from data_pipelines.jobs.wordnet import WordNet
from data_pipelines.jobs.work import Work

LABELS = "labels"  # the field of the samples that are written
VOCABULARY = "vocabulary.txt"
NO_LABEL = "no label"
_Counted = tuple[tuple[str, str], int]


def by_nouns(made: beam.Pipeline, *, work: Work, wordnet: str, min_count: int) -> beam.PCollection:
    """Verdicts on all readable samples: their labels; who has none does not stay.

    The vocabulary is written to `vocabulary.txt`, a line a label from 0, the most frequent first:
    its synset, its noun, and how many samples have it.

    Args:
      made: a pipeline.
      work: the data, whose facts are there.
      wordnet: a folder, see `WordNet`.
      min_count: samples that a label must have to be one; the paper has 500.
    """
    check_whole("min_count", min_count)
    found = (
        all_facts(made, work)
        | "readable" >> beam.Filter(lambda fact: not fact["reject"])
        | "nouns" >> beam.Map(partial(_synsets, wordnet))
    )
    counts = (
        found
        | "each" >> beam.FlatMap(lambda told: told[1].items())
        | beam.combiners.Count.PerElement()
        | "by synset" >> beam.Map(lambda counted: (counted[0][0], (counted[1], counted[0][1])))
        | beam.GroupByKey()
        | "one noun" >> beam.MapTuple(_total)
        | "frequent" >> beam.Filter(lambda counted: counted[1] >= min_count)
    )
    vocabulary = counts | beam.combiners.ToList() | "order" >> beam.Map(_ordered)
    _ = vocabulary | "write vocabulary" >> beam.Map(partial(_write, work.out / VOCABULARY))
    numbers = vocabulary | beam.Map(lambda rows: {row[0][0]: i for i, row in enumerate(rows)})
    return found | "say" >> beam.Map(_say, beam.pvalue.AsSingleton(numbers))


def _synsets(wordnet: str, fact: dict[str, Any]) -> tuple[int, dict[str, str]]:
    """A sample and the synsets of all of its captions."""
    found: dict[str, str] = {}
    for caption in fact["captions"]:
        found = _wordnet(wordnet).synsets(caption) | found
    return fact["index"], found


def _total(synset: str, rows: Any) -> _Counted:
    """A synset with its most frequent noun, and how often it came by all of its nouns."""
    ordered = sorted(rows, key=lambda row: (-row[0], row[1]))
    return (synset, ordered[0][1]), sum(count for count, _ in ordered)


def _ordered(counts: list[_Counted]) -> list[_Counted]:
    return sorted(counts, key=lambda row: (-row[1], row[0]))


def _write(path: Path, rows: list[_Counted]) -> None:
    text = "".join(f"{synset} {noun} {count}\n" for (synset, noun), count in rows)
    write_whole(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def _say(told: tuple[int, dict[str, str]], numbers: dict[str, int]) -> Verdict:
    index, found = told
    labels = sorted(numbers[synset] for synset in found if synset in numbers)
    return index, {"meta": {LABELS: labels}} if labels else {"reason": NO_LABEL}


@functools.lru_cache(maxsize=1)
def _wordnet(folder: str) -> WordNet:
    return WordNet(folder)
