"""What every job wants to know of a sample, read once and kept as parquet, a file a part."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq

from data_pipelines.decode import decode
from data_pipelines.faults import Reject
from data_pipelines.files import utf8, write_whole
from data_pipelines.jobs.look import look_at
from data_pipelines.jobs.runners import for_each
from data_pipelines.jobs.work import Work
from data_pipelines.sources.base import Source, check_read
from data_pipelines.text import clean_caption

SCHEMA = pa.schema(
    {
        "index": pa.int64(),
        "key": pa.string(),
        "file": pa.string(),
        "reject": pa.string(),  # why it cannot be used; "" if it can
        "bytes": pa.int64(),  # of the picture's file
        "width": pa.int32(),
        "height": pa.int32(),
        "sha256": pa.binary(),  # of the picture's file
        "hash": pa.uint64(),
        "small": pa.binary(),
        "spread": pa.float32(),
        "captions": pa.list_(pa.string()),
    }
)
_UNSEEN = dict(bytes=0, width=0, height=0, sha256=b"", hash=0, small=b"", spread=0.0)


def gather_facts(
    work: Work,
    flags: Sequence[str],
    *,
    pictures: bool,
    captions: bool = True,
    where: str = "facts",
) -> None:
    """Writes the facts of all samples that are not written yet.

    Args:
      work: the data and the folder.
      flags: of the runner.
      pictures: whether pictures are read; without, their facts are zeros.
      captions: whether captions are read; without, a picture that has none can be used.
      where: the folder in that of the work.
    """
    path = partial(facts_path, work, where=where)
    writing = partial(_write, work, pictures=pictures, captions=captions, where=where)
    for_each(work.missing(path), flags, writing)


def facts_path(work: Work, part: int, *, where: str = "facts") -> Path:
    """The file of a part."""
    return work.out / where / f"{part:05d}.parquet"


def read_facts(work: Work, part: int, *, where: str = "facts") -> list[dict[str, Any]]:
    """The facts of a part's samples, in order; the names are those of `SCHEMA`."""
    return pq.read_table(facts_path(work, part, where=where)).to_pylist()


def count_usable(work: Work, *, where: str = "facts") -> tuple[int, Counter[str]]:
    """How many samples can be used, and how many cannot by reason."""
    counts: Counter[str] = Counter()
    for part in range(len(work)):
        table = pq.read_table(facts_path(work, part, where=where), columns=["reject"])
        counts.update(table["reject"].to_pylist())
    return counts.pop("", 0), counts


def all_facts(
    made: beam.Pipeline, work: Work, *, where: str = "facts", label: str = ""
) -> beam.PCollection:
    """The facts of all samples as a collection."""
    return (
        made
        | f"{label}parts" >> beam.Create(range(len(work)))
        | f"{label}spread" >> beam.Reshuffle()
        | f"{label}facts" >> beam.FlatMap(partial(read_facts, work, where=where))
    )


def facts_of(source: Source, index: int, *, pictures: bool, captions: bool) -> dict[str, Any]:
    """The facts of one sample; what cannot be read has its reason in "reject"."""
    known = {
        "index": index,
        "key": utf8(source.key(index)),
        "file": utf8(source.file(index)),
        "reject": "",
        "captions": [],
    } | _UNSEEN
    try:
        if captions:
            known["captions"] = captions_of(source, index)
        if pictures:
            known |= _seen(source, index)
    except Reject as fault:
        known["reject"] = fault.reason
    return known


def captions_of(source: Source, index: int) -> list[str]:
    """The captions of a sample, cleaned. Raises Reject."""
    limit = source.limits.caption_bytes
    return [clean_caption(text, max_bytes=limit) for text in source.captions(index)]


def _seen(source: Source, index: int) -> dict[str, Any]:
    data = source.image(index)
    pixels = decode(data, max_pixels=source.limits.pixels)
    height, width = pixels.shape[:2]
    return {
        "bytes": len(data),
        "sha256": hashlib.sha256(data).digest(),
        "height": height,
        "width": width,
        **look_at(pixels)._asdict(),
    }


def _write(work: Work, part: int, *, pictures: bool, captions: bool, where: str) -> None:
    rows = [
        facts_of(work.source, index, pictures=pictures, captions=captions)
        for index in work.indices(part)
    ]
    rejects = Counter(row["reject"] for row in rows if row["reject"])
    check_read(rejects, f"part {part} of {work.source.name}")
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    write_whole(facts_path(work, part, where=where), partial(pq.write_table, table))
