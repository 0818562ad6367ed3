"""Writing what stays of a data set, shard by shard, so that a stopped job goes on where it was."""

import dataclasses
import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from data_pipelines.checks import check_choice, check_whole
from data_pipelines.decode import decode
from data_pipelines.faults import Reject
from data_pipelines.files import read_lines, utf8, write_json
from data_pipelines.jobs.facts import captions_of
from data_pipelines.jobs.layouts import (
    FIELD,
    LAYOUTS,
    SOUND,
    Item,
    finish,
    left_out,
    write_shard,
)
from data_pipelines.jobs.runners import for_each
from data_pipelines.jobs.verdicts import manifest_path
from data_pipelines.jobs.work import Work
from data_pipelines.sources.base import Source, sound_of

DONE = "done"  # the folder that says which shards are whole
LEFT_OUT = "left out"
_UNREAD, _REPLACED = "fields left out", "field replaced"
# What is said of samples that were written, but not as they were, by the name of their count.
CHANGED = {
    SOUND: "without their sound, which tars alone hold",
    FIELD: "without a field called image or caption, as columns of the table are",
    _UNREAD: "without their fields, which cannot be read",
    _REPLACED: "with a new value of a field that they had",
}
_ORIGIN = ("source_key", "source_file")


@dataclasses.dataclass(frozen=True)
class Form:
    """How samples are written.

    Attributes:
      layout: a key of `LAYOUTS`.
      resize: pixels that the shorter side has at most; None leaves all files as they are.
      quality: of the JPEG that a resized picture becomes, 1 to 100.

    Raises:
      ValueError: a value out of its range.
    """

    layout: str = "tars"
    resize: int | None = None
    quality: int = 95

    def __post_init__(self) -> None:
        check_choice("layout", self.layout, LAYOUTS)
        if self.resize is not None:
            check_whole("resize", self.resize)
        if not 1 <= self.quality <= 100:
            raise ValueError(f"quality must be of 1 to 100, got {self.quality}; try 95")


def write_shards(work: Work, flags: Sequence[str], form: Form, *, chosen: bool) -> Counter[str]:
    """Writes the shards that are not written yet, shard k of what stays of part k.

    Args:
      work: the data and the folder.
      flags: of the runner.
      form: how.
      chosen: whether a manifest says what stays; else all does that can be read.

    Returns:
      How many samples were written ("written"), were not to be (`LEFT_OUT`) and could not be
      written, by reason; and how many were written in part, by the names in `CHANGED`.
    """
    missing = [part for part in range(len(work)) if not _is_done(work, part)]
    for_each(missing, flags, partial(_write, work, form, chosen=chosen))
    finish(form.layout, work.out)
    counts: Counter[str] = Counter()
    for part in range(len(work)):
        counts.update(_told(work, part)["counts"])
    return counts


def _is_done(work: Work, part: int) -> bool:
    """Whether a shard is whole, and still there."""
    return _done(work, part).exists() and (work.out / _told(work, part)["shard"]).exists()


def _told(work: Work, part: int) -> dict[str, Any]:
    return json.loads(_done(work, part).read_text(encoding="utf-8"))


def _done(work: Work, part: int) -> Path:
    """The file that is written last: this shard is whole."""
    return work.out / DONE / f"{part:05d}.json"


def _write(work: Work, form: Form, part: int, *, chosen: bool) -> None:
    counts = Counter(written=0)
    items = _items(work, form, part, chosen=chosen, counts=counts)
    first = next(items, None)
    name = "" if first is None else write_shard(form.layout, work.out, part, _after(first, items))
    write_json(_done(work, part), {"shard": name, "counts": counts})


def _after(first: Item, items: Iterator[Item]) -> Iterator[Item]:
    yield first
    yield from items


def _items(
    work: Work, form: Form, part: int, *, chosen: bool, counts: Counter[str]
) -> Iterator[Item]:
    """What stays of a part; counts all of it."""
    said = {line["index"]: line for line in read_lines(manifest_path(work, part))} if chosen else {}
    for index in work.indices(part):
        line = said.get(index, {})
        if not line.get("kept", True):
            counts[LEFT_OUT] += 1
            continue
        try:
            item, lost = _item(work.source, index, form=form, more=line.get("meta", {}))
        except Reject as fault:
            counts[fault.reason] += 1
            continue
        counts["written"] += 1
        counts.update([*lost, *left_out(form.layout, item)])
        yield item


def _item(
    source: Source, index: int, *, form: Form, more: dict[str, Any]
) -> tuple[Item, list[str]]:
    """A sample as it is written, and which of its fields are not."""
    image = source.image(index)
    if form.resize is not None:
        image = resized(image, form.resize, quality=form.quality, max_pixels=source.limits.pixels)
    captions, sound = _captions(source, index), sound_of(source, index)
    fields, lost = _fields(source, index)
    lost += [_REPLACED] * any(fields.get(name, value) != value for name, value in more.items())
    origin = (source.key(index), source.file(index))
    # Of samples that were written before, where they came from at first.
    meta = dict(zip(_ORIGIN, map(utf8, origin), strict=True)) | fields | more
    return Item(f"{index:09d}", image, captions, meta, sound), lost


def _captions(source: Source, index: int) -> tuple[str, ...]:
    """None of a picture that has none, which some trainings read. Raises Reject."""
    try:
        return tuple(captions_of(source, index))
    except Reject as fault:
        if fault.is_missing:
            return ()
        raise


def _fields(source: Source, index: int) -> tuple[dict[str, Any], list[str]]:
    """What the source knows beside the pair, or that it cannot be read."""
    try:
        return dict(source.meta(index)), []
    except Reject:
        return {}, [_UNREAD]


def resized(data: bytes, size: int, *, quality: int, max_pixels: int) -> bytes:
    """A picture whose shorter side is at most `size`: as it is, or a JPEG (PNG if transparent).

    Args:
      data: an encoded image.
      size: pixels.
      quality: of a JPEG.
      max_pixels: of the picture, height times width.

    Raises:
      Reject: see `decode`.
    """
    image = Image.fromarray(decode(data, max_pixels=max_pixels))
    shorter = min(image.size)
    if shorter <= size:
        return data
    width, height = (max(1, round(side * size / shorter)) for side in image.size)
    made = image.resize((width, height), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    if np.asarray(made)[..., 3].min() < 255:  # somewhere transparent
        made.save(file, "PNG")
    else:
        made.convert("RGB").save(file, "JPEG", quality=quality, subsampling=0)
    return file.getvalue()
