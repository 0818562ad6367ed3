"""From a data spec to the source of what it names.

A spec names one or several places, joined by commas:

  a.tar                  a WebDataset tar, here or at gs://, s3:// or https://; compressed ones,
                         such as a.tar.gz and a.tar.zst, are unpacked while they are read
  dir/*.tar              all that match, in the order of their names
  shard-{0000..0012}.tar a numbered range
  dir/                   a folder: with a table (captions.csv, .tsv or .jsonl, or metadata.csv or
                         .jsonl), with tars at any depth, or with pictures or sounds at any depth
  dir/table.csv          a table of another name
  *.parquet, *.arrow, *.array_record
                         rows with a column of encoded pictures; also a folder of such files, and
                         one that Hugging Face's `datasets` or TFDS wrote; in a store all but
                         ArrayRecord and TFDS
  tfds:NAME/CONFIG:VERSION[SPLIT]
                         a data set of TFDS, prepared as ArrayRecord
  synthetic:N@WxH        N pairs that are made, for benchmarks
  cat.jpg, dir/*.ogg     pictures, sounds
  -                      what comes by the standard input: a picture, or a path a line
  emoji:noto             an embedded data set

Captions: KEY.txt is one, whatever its lines; KEY.captions holds several, one a line. `lines:` in
front of a spec reads KEY.txt, too, one a line.
"""

import contextlib
import functools
import logging
import os
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from data_pipelines.faults import shown
from data_pipelines.formats import (
    kind_of_file,
    kind_of_name,
    open_rows,
    places_below,
    places_in_store,
    saved_places,
    stored_places,
)
from data_pipelines.io import child, listing, name_of, packed_kind
from data_pipelines.limits import LIMITS, Limits
from data_pipelines.sources.base import Source
from data_pipelines.sources.concat import ConcatSource
from data_pipelines.sources.files import walk
from data_pipelines.sources.folder import FolderSource, tables
from data_pipelines.sources.join import JoinedSource
from data_pipelines.sources.members import ENCODED, role_of
from data_pipelines.sources.pictures import OnePicture, PictureSource, with_beside
from data_pipelines.sources.survey import Strays
from data_pipelines.sources.table import SUFFIXES
from data_pipelines.sources.tar import TarSource
from data_pipelines.sources.tar_index import NAME
from data_pipelines.sources.tar_indexes import remembered
from data_pipelines.specs import EMOJI, STDIN, SYNTHETIC, TFDS, existing, paths_of

_LOG = logging.getLogger(__name__)
_LINES = "lines:"
_INDEX = ".tar.index"
# What a place is, and what tells where: a path, but for folders of pictures and bytes.
_TAR, _PICTURE, _TABLE = "tar", "picture", "table"
_FOLDER, _BYTES, _EMOJI = "folder of pictures", "picture by itself", "set of the package"
_Place = tuple[str, Any]
JOIN = " + "  # between data that are joined by key


def open_source(spec: str | Path, *, limits: Limits = LIMITS) -> Source:
    """The source that a spec names; several are one, and ids count through all of them.

    "A + B" is what A and B have in common by key, such as pictures and tars of sounds.

    Args:
      spec: see the package's docstring. A path that exists is taken as it stands.
      limits: how large the parts of a sample may be.

    Raises:
      ValueError: nothing is there, it cannot be read, or what is there is damaged.
    """
    if JOIN in str(spec) and not Path(spec).exists():
        parts = (open_source(part, limits=limits) for part in str(spec).split(JOIN))
        return functools.reduce(JoinedSource, parts)
    text, by_line = _without_prefix(str(spec))
    try:
        places = list(_places(text))
        _check_once(places)
        _say_repeats(places)
        sources = [
            source
            for kind, group in groupby(places, key=lambda place: place[0])
            for source in _open(kind, [what for _, what in group], by_line=by_line, limits=limits)
        ]
    except OSError as error:
        raise _unreadable(error) from error
    if not sources:
        raise ValueError(f"{text!r} must name data, but names indexes of tars only")
    return sources[0] if len(sources) == 1 else ConcatSource(sources)


def tars_of(spec: str) -> list[Path | str]:
    """The tars that a spec names, in order; of what lies in a store the addresses.

    Raises:
      ValueError: nothing is there, or something else than tars.
    """
    try:
        places = list(_places(_without_prefix(spec)[0]))
    except OSError as error:
        raise _unreadable(error) from error
    others = {kind for kind, _ in places} - {_TAR}
    if others:
        raise ValueError(f"{spec!r} must name tars or folders of tars, it names a {min(others)}")
    return [path for _, path in places]


def tars_within(spec: str) -> list[str]:
    """The tars among what a spec names; what else it names, or cannot name, is no matter here."""
    found: list[str] = []
    for part in spec.split(JOIN):
        with contextlib.suppress(OSError, ValueError):
            if part != STDIN:
                places = _places(_without_prefix(part)[0])
                found += [os.fspath(path) for kind, path in places if kind == _TAR]
    return found


def _unreadable(error: OSError) -> ValueError:
    return ValueError(f"{error.filename or 'data'} cannot be read: {error.strerror or error}")


def _without_prefix(text: str) -> tuple[str, bool]:
    by_line = text.startswith(_LINES) and not os.path.exists(text)
    return (text.removeprefix(_LINES), True) if by_line else (text, False)


def _places(text: str) -> Iterator[_Place]:
    """What stands where a spec points, in its order."""
    for path in paths_of(text):
        if str(path) == STDIN:
            yield from _from_stdin(sys.stdin.buffer.read())
        else:
            yield from _place(path)


def _from_stdin(data: bytes) -> Iterator[_Place]:
    """A picture, or a path a line: paths hold no NUL, and all picture files do."""
    if not data.strip():
        raise ValueError("the standard input holds nothing; give it a picture or a path a line")
    if b"\0" in data:
        yield _BYTES, data
        return
    for line in data.splitlines():
        if line.strip():
            yield from _place(existing(os.fsdecode(line)))


def _place(path: Path | str) -> Iterator[_Place]:
    if isinstance(path, str):
        yield from _in_store(path)
        return
    suffix = path.suffix.lower()
    if str(path).startswith(EMOJI) and not path.exists():
        yield _EMOJI, str(path)
    elif (named := kind_of_name(str(path))) and not path.exists():
        yield named, path
    elif path.is_dir():
        yield from _in_folder(path)
    elif rows := kind_of_file(path):
        yield rows, path
    elif suffix in SUFFIXES:
        yield _TABLE, path
    elif role_of(suffix[1:]) is not None:
        yield _PICTURE, path
    elif path.name != NAME and not path.name.endswith(_INDEX):
        yield _TAR, path


def _in_store(address: str) -> list[_Place]:
    """The tars or the rows that an address names: itself, or those of a folder."""
    if address.endswith(NAME):
        return []
    if _is_tar(address):
        return [(_TAR, address)]
    if rows := stored_places([address]):
        return [*rows]
    there = {name_of(file) for file in listing(address)}
    names = sorted(there | {*remembered(address.rstrip("/"))})
    tars = [(_TAR, child(address, name)) for name in names if _is_tar(name)]
    rows = places_in_store(address, names, beside=bool(tars))
    _check_one_kind(address, [path for _, path in (*tars[:1], *rows[:1])])
    found = tars or rows
    if not found:
        raise ValueError(
            "data of a store are tars, parquet or Arrow files, or a folder of them, "
            f"{address} holds none"
        )
    return found


def _in_folder(folder: Path) -> Iterator[_Place]:
    """A folder's table, or its tars, or its pictures."""
    if tables(folder):
        yield _TABLE, folder
        return
    if saved := saved_places(folder):
        yield from saved
        return
    strays = Strays()
    files = walk(folder, strays)
    tars = sorted({*files, *_remembered(folder, files)})
    tars = [file for file in tars if _is_tar(file)]
    encoded = [file for file in files if role_of(Path(file).suffix[1:]) in ENCODED]
    rows = places_below(folder, files, beside=bool(tars or encoded))
    _check_one_kind(folder, [*tars[:1], *encoded[:1], *(str(path) for _, path in rows[:1])])
    twice = [file for file in tars if packed_kind(file) and _unpacked_name(file) in tars]
    if twice:
        raise ValueError(
            f"a tar is read once, {folder} holds {shown(twice[0])} and the same unpacked; say by a "
            "pattern which, such as '*.tar'"
        )
    if rows:
        yield from rows
    elif tars:
        yield from ((_TAR, folder / file) for file in tars)
    else:
        yield _FOLDER, (folder, files, strays)


def _check_one_kind(folder: Path | str, found: list[str]) -> None:
    """Refuses a folder of several kinds of data, by the first file of each."""
    if len(found) > 1:
        raise ValueError(
            f"a folder is read as rows, as tars or as pictures, {folder} holds "
            f"{' and '.join(map(shown, found))}; say which by a pattern, such as '*.tar'"
        )


def _is_tar(name: str) -> bool:
    return name.partition("?")[0].lower().endswith(".tar") or packed_kind(name) is not None


def _unpacked_name(name: str) -> str:
    stem = os.path.splitext(name)[0]
    return stem if stem.lower().endswith(".tar") else f"{stem}.tar"


def _remembered(folder: Path, files: list[str]) -> Iterator[str]:
    """The tars that the indexes in a folder know, at any depth."""
    for file in (file for file in files if name_of(f"/{file}") == NAME):
        inside = file.removesuffix(NAME)
        yield from (inside + name for name in remembered(str(folder / inside)))


def _check_once(places: list[_Place]) -> None:
    """Refuses pictures that are given both by a table and one by one."""
    folders = {what if what.is_dir() else what.parent for kind, what in places if kind == _TABLE}
    for kind, what in places:
        if kind == _PICTURE and folders & {*what.parents}:
            raise ValueError(
                f"{what} is named beside a table of its folder; give the folder or the table alone"
            )


def _say_repeats(places: list[_Place]) -> None:
    """Says what is named more than once, which may be meant as a weight."""
    folders = {os.path.realpath(what[0]) for kind, what in places if kind == _FOLDER}
    seen: set[Any] = set()
    again: list[str] = []
    named = (_EMOJI, _BYTES, TFDS, SYNTHETIC)
    for path in (_path(kind, what) for kind, what in places if kind not in named):
        place = _identity(path)
        above = map(str, Path(os.path.realpath(path)).parents) if folders else ()
        if place in seen or not folders.isdisjoint(above):
            again.append(str(path))
        seen.add(place)
    if again:
        _LOG.warning(
            "%s is named more than once in the data, as itself or by a folder (%d such); its "
            "samples count each time; name it once unless that is meant",
            shown(again[0]),
            len(again),
        )


def _identity(path: Path | str) -> Any:
    """What two names of one file have in common; of what is not here, or not any more, the name."""
    if isinstance(path, str) or not path.exists():
        return str(path)
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _path(kind: str, what: Any) -> Path | str:
    """The file or folder that is read in a place."""
    if kind == _FOLDER:
        return what[0]
    return what / tables(what)[0] if kind == _TABLE and what.is_dir() else what


def _open(kind: str, found: list[Any], *, by_line: bool, limits: Limits) -> Iterator[Source]:
    """The sources of places of one kind that follow each other: several tars are one."""
    if kind == _TAR:
        yield TarSource(found, by_line=by_line, limits=limits)
    elif kind == _PICTURE:
        root, files = with_beside(found)
        name = found[0].name if len(found) == 1 else ""
        yield PictureSource(root, files, name=name, by_line=by_line, limits=limits)
    elif kind == _EMOJI:
        yield from (_emoji(part, limits) for part in found)
    elif kind == _FOLDER:
        for folder, files, strays in found:
            yield PictureSource(folder, files, strays=strays, by_line=by_line, limits=limits)
    elif by_line:
        raise ValueError(
            f"{_LINES} is for captions in .txt files, and {found[0]} has none; leave it out"
        )
    elif kind not in (_TABLE, _BYTES):
        yield from open_rows(kind, found, limits=limits)
    elif kind == _TABLE:
        yield from (_table(path, limits) for path in found)
    else:
        yield from (OnePicture(data, name="stdin", limits=limits) for data in found)


def _table(path: Path, limits: Limits) -> Source:
    if path.is_dir():
        return FolderSource(path, limits=limits)
    return FolderSource(path.parent, table=path, name=path.name, limits=limits)


def _emoji(part: str, limits: Limits) -> Source:
    # Imported here: building the embedded set is not needed to read other data.
    from data_pipelines.emoji import materialize

    name = part.removeprefix(EMOJI)
    folder = Path(materialize())
    known = sorted(path.stem for path in folder.glob("*.tar"))
    if name not in known:
        raise ValueError(f"emoji:NAME must be one of {', '.join(known)}; got {name!r}")
    return TarSource(folder / f"{name}.tar", name=part, limits=limits)
