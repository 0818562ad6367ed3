"""Captions to labels: each sample's nouns as numbers of a pruned vocabulary of synsets.

References:
  Mehta et al., 2024 (CatLIP), https://arxiv.org/abs/2404.15653, section 3.
"""

import functools
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import apache_beam as beam

from data_pipelines.checks import check_whole
from data_pipelines.files import write_whole
from data_pipelines.jobs.facts import all_facts
from data_pipelines.jobs.runners import pipeline
from data_pipelines.jobs.verdicts import Verdict
from data_pipelines.jobs.wordnet import WordNet
from data_pipelines.jobs.work import Work

LABELS = "labels"  # the field of the samples that are written
VOCABULARY = "vocabulary.txt"
NO_LABEL = "no label"
_Counted = tuple[tuple[str, str], int]


def write_vocabulary(work: Work, flags: Sequence[str], *, wordnet: str, min_count: int) -> Path:
    """Writes the labels that there are, unless they are there, and says where.

    The file has a line a label from 0, the most frequent first: its synset, its noun, and how many
    samples have it.

    Args:
      work: the data, whose facts are there.
      flags: of the runner.
      wordnet: a folder, see `WordNet`.
      min_count: samples that a label must have to be one; the paper has 500.
    """
    check_whole("min_count", min_count)
    path = work.out / VOCABULARY
    if not path.exists():
        with pipeline(flags) as made:
            _ = (
                _found(made, work, wordnet)
                | "each" >> beam.FlatMap(lambda told: told[1].items())
                | beam.combiners.Count.PerElement()
                | "by synset" >> beam.MapTuple(lambda noun, count: (noun[0], (count, noun[1])))
                | beam.GroupByKey()
                | "one noun" >> beam.MapTuple(_total)
                | "frequent" >> beam.Filter(lambda counted: counted[1] >= min_count)
                | beam.combiners.ToList()
                | "write vocabulary" >> beam.Map(partial(_write, path))
            )
    return path


def by_nouns(made: beam.Pipeline, *, work: Work, wordnet: str) -> beam.PCollection:
    """Verdicts on all readable samples: their labels; who has none does not stay.

    Args:
      made: a pipeline.
      work: the data, whose facts and vocabulary are there.
      wordnet: a folder, see `WordNet`.
    """
    lines = (work.out / VOCABULARY).read_text(encoding="utf-8").splitlines()
    numbers = {line.split(" ", 1)[0]: number for number, line in enumerate(lines)}
    return _found(made, work, wordnet) | "say" >> beam.Map(partial(_say, numbers))


def _found(made: beam.Pipeline, work: Work, wordnet: str) -> beam.PCollection:
    """All readable samples with their synsets."""
    return (
        all_facts(made, work)
        | "readable" >> beam.Filter(lambda fact: not fact["reject"])
        | "nouns" >> beam.Map(partial(_synsets, wordnet))
    )


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


def _write(path: Path, counts: list[_Counted]) -> None:
    rows = sorted(counts, key=lambda row: (-row[1], row[0]))
    text = "".join(f"{synset} {noun} {count}\n" for (synset, noun), count in rows)
    write_whole(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def _say(numbers: dict[str, int], told: tuple[int, dict[str, str]]) -> Verdict:
    index, found = told
    labels = sorted(numbers[synset] for synset in found if synset in numbers)
    return index, {"meta": {LABELS: labels}} if labels else {"reason": NO_LABEL}


@functools.lru_cache(maxsize=1)
def _wordnet(folder: str) -> WordNet:
    return WordNet(folder)
