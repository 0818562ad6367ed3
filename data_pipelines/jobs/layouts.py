"""Shards of samples in each layout that is written, every one whole or not there at all."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data_pipelines.checks import check_choice
from data_pipelines.files import json_bytes, read_lines, write_lines, write_whole
from data_pipelines.sources import table
from data_pipelines.sources.rows import JSON
from data_pipelines.sources.tar_build import build_indexes
from data_pipelines.tar_write import kind_of, sample_bytes, write_tar

_ROW_GROUP = 128  # samples that a reader takes from the disk for one
_LINES = "captions.jsonl"
# The first names that its reader looks for: another field may be called by one of the later ones.
_COLUMNS = (table.IMAGE_COLUMNS[0], table.CAPTION_COLUMNS[0])
SOUND, FIELD = "sound left out", "field left out"
PARQUET = pa.schema(
    {
        "key": pa.string(),
        "image": pa.struct({"bytes": pa.binary(), "path": pa.string()}),
        "captions": pa.list_(pa.string()),
        JSON: pa.string(),
    }
)


@dataclasses.dataclass(frozen=True)
class Item:
    """A sample that is written.

    Attributes:
      key: ASCII, without a dot, its own in the whole output.
      image: an encoded image file.
      captions: none of a picture alone.
      meta: JSON values.
      sound: an encoded sound file, for layouts that hold it; None for none.
    """

    key: str
    image: bytes
    captions: tuple[str, ...]
    meta: Mapping[str, Any]
    sound: bytes | None = None


def left_out(layout: str, item: Item) -> Iterator[str]:
    """What of a sample a layout has no place for: `SOUND`, `FIELD`."""
    if item.sound is not None and layout != "tars":
        yield SOUND
    if layout == "folder" and any(map(_is_column, item.meta)):
        yield FIELD


def write_shard(layout: str, out: Path, part: int, items: Iterable[Item]) -> str:
    """Writes a shard and says its name in the folder.

    Args:
      layout: a key of `LAYOUTS`.
      out: the folder.
      part: the number of the shard.
      items: at least one.
    """
    check_choice("layout", layout, LAYOUTS)
    return LAYOUTS[layout](out, f"{part:05d}", items)


def finish(layout: str, out: Path) -> None:
    """What is written once all shards are: the index of tars, and of folders one table."""
    if layout == "tars":
        build_indexes(sorted(out.glob("*.tar")), processes=1)
    if layout == "folder":
        shards = sorted(out.glob(f"[0-9]*/{_LINES}.part"))
        write_lines(out / _LINES, (line for shard in shards for line in read_lines(shard)))


def _tars(out: Path, name: str, items: Iterable[Item]) -> str:
    samples = (
        sample_bytes(item.key, item.image, item.captions, meta=item.meta, sound=item.sound)
        for item in items
    )
    path = out / f"{name}.tar"
    write_whole(path, lambda partial: write_tar(partial, samples))
    return path.name


def _parquet(out: Path, name: str, items: Iterable[Item]) -> str:
    """Columns as Hugging Face's image feature has them, {bytes, path}; fields, which need not be of
    one type, as JSON.
    """
    path = out / f"{name}.parquet"

    def write(partial: Path) -> None:
        with pq.ParquetWriter(partial, PARQUET) as file:
            for rows in _groups(map(_row, items)):
                file.write_table(pa.Table.from_pylist(rows, schema=PARQUET))

    write_whole(path, write)
    return path.name


def _row(item: Item) -> dict[str, Any]:
    return {
        "key": item.key,
        "image": {"bytes": item.image, "path": _file(item)},
        "captions": list(item.captions),
        JSON: json_bytes(item.meta).decode(),
    }


def _groups(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    group: list[dict[str, Any]] = []
    for row in rows:
        group.append(row)
        if len(group) == _ROW_GROUP:
            yield group
            group = []
    if group:
        yield group


def _folder(out: Path, name: str, items: Iterable[Item]) -> str:
    """Pictures in a folder, and beside them the lines that `finish` makes one table of."""

    def write(partial: Path) -> None:
        partial.mkdir()
        lines = []
        for item in items:
            (partial / _file(item)).write_bytes(item.image)
            told = (f"{name}/{_file(item)}", list(item.captions) or None)
            fields = {field: item.meta[field] for field in item.meta if not _is_column(field)}
            lines.append(dict(zip(_COLUMNS, told, strict=True)) | fields)
        write_lines(partial / f"{_LINES}.part", lines)

    write_whole(out / name, write)
    return name


def _is_column(field: str) -> bool:
    """Whether a reader of the table takes a field for the picture or the captions."""
    return field.strip().lower() in _COLUMNS


def _file(item: Item) -> str:
    return f"{item.key}.{kind_of(item.image)}"


LAYOUTS: dict[str, Callable[[Path, str, Iterable[Item]], str]] = {
    "tars": _tars,
    "parquet": _parquet,
    "folder": _folder,
}
