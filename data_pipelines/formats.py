"""Data in rows, not in files of their own: which source reads a path, a folder or a name."""

import os
import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_pipelines.io import child, is_address, name_of
from data_pipelines.limits import Limits
from data_pipelines.sources.base import Source
from data_pipelines.sources.files import walk
from data_pipelines.sources.pictures import SPLITS
from data_pipelines.sources.saved import STATE, is_prepared, is_saved, is_saved_there, saved_files
from data_pipelines.sources.survey import Strays
from data_pipelines.sources.synthetic import SyntheticSource
from data_pipelines.specs import SYNTHETIC, TFDS

if TYPE_CHECKING:
    from data_pipelines.sources.groups import GroupSource

PARQUET, ARROW, RECORDS = "parquet file", "Arrow file", "ArrayRecord file"
JOB = "job.json"  # in the folder of a job of `vlp data`
_FILES = {".parquet": PARQUET, ".arrow": ARROW}
# a.array_record, or a.array_record-00000-of-00001.
_RECORDS = re.compile(r"\.array_?record(?=$|-\d+-of-\d+$)", re.IGNORECASE)
_SHARD = re.compile(r"(.+?)-\d+-of-\d+\b")


def kind_of_file(path: str | Path) -> str | None:
    """What a file of rows is, by its name; None for any other file."""
    path = Path(name_of(path))
    return RECORDS if _RECORDS.search(path.name) else _FILES.get(path.suffix.lower())


def kind_of_name(name: str) -> str | None:
    """The prefix of a name that is no path: a data set of TFDS, or pairs that are made."""
    return next((prefix for prefix in (TFDS, SYNTHETIC) if name.startswith(prefix)), None)


def saved_places(folder: Path) -> list[tuple[str, Path]]:
    """The files of a folder that `datasets` saved, or the one data set of a folder that TFDS wrote.

    Raises:
      ValueError: there are several splits to choose from, or the folder cannot be read.
    """
    if is_saved(folder):
        return [(ARROW, Path(path)) for path in saved_files(folder)]
    if is_prepared(folder):
        return [(TFDS, Path(f"{TFDS}{folder}"))]
    return []


def places_below(folder: Path, files: Sequence[str], *, beside: bool) -> list[tuple[str, Path]]:
    """The files of rows below a folder.

    Args:
      folder: where they lie.
      files: all of its files, by their paths below it. Of a folder that a job wrote, those in
        folders are what it knows of its samples, and no data.
      beside: whether there are tars or pictures as well: then parquet without pictures is what
        img2dataset says of them, and no data of its own.

    Raises:
      ValueError: they are those of several splits.
    """
    if JOB in files:
        files = [file for file in files if "/" not in file]
    for wanted in (PARQUET, ARROW, RECORDS):
        names = [file for file in files if kind_of_file(file) == wanted]
        if names and (not beside or wanted != PARQUET or _has_pictures(folder / names[0])):
            _check_one_split(folder, names)
            return [(wanted, folder / name) for name in names]
    return []


def rows_of_split(folder: Path, split: str) -> tuple[str, list[Path]] | None:
    """The kind and the files of rows of one split below a folder; None where there are none.

    Where none is of the split, those that say no split are taken.

    Raises:
      ValueError: see `saved_files`.
    """
    for place in (folder, folder / split):
        if (place / STATE).is_file():
            return ARROW, [Path(path) for path in saved_files(place)]
    files = walk(folder, Strays())
    for kind in (PARQUET, ARROW):
        names = [file for file in files if kind_of_file(file) == kind]
        own = [file for file in names if _split_of(file) == split]
        own = own or [file for file in names if _split_of(file) is None]
        if own:
            return kind, [folder / file for file in own]
    return None


def _split_of(file: str) -> str | None:
    """The split that a file's name says, also behind its own: NAME-test.arrow."""
    last = name_of(file).partition(".")[0].rpartition("-")[2].lower()
    return _split(file) or (last if last in SPLITS else None)


def places_in_store(folder: str, names: Sequence[str], *, beside: bool) -> list[tuple[str, str]]:
    """The files of rows in a folder of a store, by the names of all its files.

    Args:
      folder: its address.
      names: of all its files.
      beside: whether there are tars as well; see `places_below`.

    Raises:
      ValueError: see `saved_files` and `stored_places`.
    """
    if is_saved_there(names):
        return stored_places(saved_files(folder))
    parquet = [name for name in names if kind_of_file(name) == PARQUET]
    if beside and parquet and not _has_pictures(child(folder, parquet[0])):
        names = [name for name in names if name not in parquet]
    return stored_places([child(folder, name) for name in names])


def stored_places(addresses: Sequence[str]) -> list[tuple[str, str]]:
    """The files of rows among addresses of a store.

    Raises:
      ValueError: they are of a kind that is read from disks only, or of several splits.
    """
    found = [(kind, address) for address in addresses if (kind := kind_of_file(address))]
    record = next((address for kind, address in found if kind == RECORDS), None)
    if record is not None:
        raise ValueError(
            f"of rows in a store parquet and Arrow are read, {record} is an {RECORDS}, whose "
            "reader takes files of this machine; copy them to a disk, or write tars"
        )
    if len({kind for kind, _ in found}) > 1:
        raise ValueError(
            f"a folder of a store is read as one kind of rows, {found[0][1]} lies beside others; "
            "say which by a pattern, such as '*.parquet'"
        )
    if len(found) > 1:
        _check_one_split("", [address for _, address in found])
    return found


def open_rows(kind: str, found: Sequence[str | Path], *, limits: Limits) -> Iterator[Source]:
    """The sources of files of one kind, one a folder, or of names."""
    if kind in (PARQUET, ARROW, RECORDS):
        for _, paths in groupby(found, key=os.path.dirname):
            yield _of_files(kind, list(paths), limits)
        return
    for name in map(str, found):
        if kind == SYNTHETIC:
            yield SyntheticSource(name.removeprefix(SYNTHETIC), limits=limits)
            continue
        # Imported here: it takes half a second, and few read such data.
        from data_pipelines.sources.tfds import TfdsSource

        yield TfdsSource(name.removeprefix(TFDS), limits=limits)


def open_table(kind: str, paths: Sequence[Path], *, name: str, limits: Limits) -> "GroupSource":
    """The rows of parquet or Arrow files, whatever their columns are; see `rows_of_split`.

    Raises:
      ValueError: none can be read, or they have other columns.
    """
    from data_pipelines.sources.arrow import ArrowSource
    from data_pipelines.sources.parquet import ParquetSource
    from data_pipelines.sources.row_columns import Columns

    make: Any = {PARQUET: ParquetSource, ARROW: ArrowSource}[kind]
    return make(paths, name=name, limits=limits, columns=Columns(None, None, None, None, ()))


# Imported where they are needed: what reads rows takes long to import, and few data are rows.
def _of_files(kind: str, paths: list, limits: Limits) -> Source:
    if kind == PARQUET:
        from data_pipelines.sources.downloaded import downloaded
        from data_pipelines.sources.parquet import ParquetSource

        return downloaded(ParquetSource(paths, limits=limits))
    if kind == ARROW:
        from data_pipelines.sources.arrow import ArrowSource
        from data_pipelines.sources.stored_arrow import StoredArrowSource

        if is_address(paths[0]):
            return StoredArrowSource(paths, limits=limits)
        return ArrowSource(paths, limits=limits)
    from data_pipelines.sources.array_record import ArrayRecordSource

    return ArrayRecordSource(paths, limits=limits)


def _has_pictures(path: str | Path) -> bool:
    from data_pipelines.sources.parquet import has_pictures

    return has_pictures(path)


def _check_one_split(folder: str | Path, files: Sequence[str]) -> None:
    """Refuses files of several splits, of which one would be trained on by mistake."""
    by_split = {split: file for file in reversed(files) if (split := _split(file))}
    if len(by_split) > 1:
        first = re.sub(r"\d{2,}", "*", by_split[min(by_split, key=lambda name: name != "train")])
        raise ValueError(
            f"{folder or 'a store'} holds the splits {', '.join(sorted(by_split))}; name one by a "
            f"pattern, such as '{child(folder, first)}'"
        )


def _split(file: str) -> str | None:
    """The split that a file's name or one of its folders says."""
    *folders, base = file.lower().split("/")
    shard = _SHARD.match(base)
    words = [shard[1] if shard else base.partition(".")[0], *folders]
    return next((word for word in words if word in SPLITS), None)
