"""What becomes of each sample and why: the manifest of a job, a file of JSON lines a part.

{"index": 17, "key": "017", "file": "web/0.tar", "kept": false, "reason": "near duplicate",
 "of": 4}
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import apache_beam as beam

from data_pipelines.files import read_lines, write_lines
from data_pipelines.jobs.facts import read_facts
from data_pipelines.jobs.runners import pipeline
from data_pipelines.jobs.work import Work

# What is said of a sample: `reason` ("" or none if it stays), and more for the manifest; of what
# stands under `meta` the sample's own metadata are told.
Verdict = tuple[int, dict[str, Any]]
Judge = Callable[[beam.Pipeline], beam.PCollection]


def judge(work: Work, flags: Sequence[str], judging: Judge) -> None:
    """Writes the manifest of a job whose facts are there, unless all of it is.

    Args:
      work: the data and the folder.
      flags: of the runner.
      judging: a collection of verdicts, on a sample at most one; who has none stays. What could not
        be read never stays.
    """
    if not work.missing(partial(manifest_path, work)):
        return
    with pipeline(flags) as made:
        said = judging(made) | "by part" >> beam.Map(partial(_with_part, work.part_size))
        parts = made | "all parts" >> beam.Create([(part, None) for part in range(len(work))])
        _ = (
            {"said": said, "parts": parts}
            | "bring together" >> beam.CoGroupByKey()
            | "write manifest" >> beam.MapTuple(partial(_write, work))
        )


def manifest_path(work: Work, part: int) -> Path:
    """The manifest of a part."""
    return work.out / "manifest" / f"{part:05d}.jsonl"


def manifest(work: Work) -> Iterator[dict[str, Any]]:
    """All lines of the manifest."""
    for part in range(len(work)):
        yield from read_lines(manifest_path(work, part))


def reasons(work: Work) -> tuple[int, Counter[str]]:
    """How many samples stayed, and how many did not by reason."""
    counts = Counter("" if line["kept"] else line["reason"] for line in manifest(work))
    return counts.pop("", 0), counts


def _with_part(size: int, verdict: Verdict) -> tuple[int, Verdict]:
    return verdict[0] // size, verdict


def _write(work: Work, part: int, groups: dict[str, Iterable[Verdict]]) -> None:
    said = dict(groups["said"])
    write_lines(
        manifest_path(work, part),
        (_line(fact, said.get(fact["index"], {})) for fact in read_facts(work, part)),
    )


def _line(fact: dict[str, Any], verdict: dict[str, Any]) -> dict[str, Any]:
    reason = fact["reject"] or verdict.get("reason", "")
    told = {name: fact[name] for name in ("index", "key", "file")} | {"kept": not reason}
    told |= {"reason": reason} if reason else {}
    return told | {name: value for name, value in verdict.items() if name != "reason"}
