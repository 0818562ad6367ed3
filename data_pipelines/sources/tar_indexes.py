"""Which index knows a tar: the one of its folder, beside the tars or in the cache, or a new one.

An index beside the tars is `FOLDER/tars.index`; of folders that cannot be written, and of stores,
it lies in `$VLP_CACHE/tars`, or else in `~/.cache/vlp/tars`. It serves for any choice of its tars.
A tar that is another one now (by size or time) is scanned; one that is not there any more keeps its
samples in the order, as rejects.
"""

import dataclasses
import functools
import hashlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data_pipelines.caches import cache_folder
from data_pipelines.files import write_whole
from data_pipelines.io import File, child, exists, is_address, listing, name_of, open_file
from data_pipelines.sources.tar_index import NAME, TarIndex, stamp
from data_pipelines.sources.tar_scan import ODD, Tar, scan

_LOG = logging.getLogger(__name__)
_OLDER = ".index"  # of earlier versions, one beside each tar
_COPIED = 64 * 2**20
_MANY = 64  # tars whose scan is worth a word
NOT_THERE = (-1, "")  # size and tag of a tar that was not there when it was to be scanned


@dataclasses.dataclass(frozen=True, eq=False)
class Found:
    """Where each of some tars is known.

    Attributes:
      indexes: that know them.
      where: by tar, the index and the row in it.
      gone: the tars that an index knows and that are not there.
    """

    indexes: tuple[TarIndex, ...]
    where: tuple[tuple[int, int], ...]
    gone: frozenset[str]


def find(addresses: Sequence[str]) -> Found:
    """The index of each tar; those that no index knows are scanned. What is not used is said.

    Raises:
      ValueError: an index is damaged, or a tar cannot be read now.
    """
    indexes, known, stale, gone = _looked_up(addresses)
    _say_stale(stale)
    return _found(addresses, known, indexes, frozenset(gone))


def unindexed(addresses: Sequence[str]) -> list[str]:
    """The tars that no index knows as they are now.

    Raises:
      ValueError: an index is damaged.
    """
    _, known, _, _ = _looked_up(addresses)
    return [address for address in dict.fromkeys(addresses) if address not in known]


def _looked_up(
    addresses: Sequence[str],
) -> tuple[dict[str, TarIndex], dict[str, tuple[str, int]], list[str], list[str]]:
    """Indexes by folder; the folder and row of what they know; what they knew; what is gone."""
    indexes: dict[str, TarIndex | None] = {}
    there: dict[str, frozenset[str] | None] = {}
    known: dict[str, tuple[str, int]] = {}
    stale: list[str] = []
    gone: list[str] = []
    for address in dict.fromkeys(addresses):
        folder = folder_of(address)
        if folder not in indexes:
            indexes[folder] = index = load_index(folder)
            there[folder] = _names_there(folder) if index and is_address(folder) else None
        index = indexes[folder]
        row = None if index is None else index.rows.get(name_of(address))
        if index is None or row is None:
            continue
        state, before = _state(address, there[folder]), _known_state(index, row)
        if state == "unknown" and before == NOT_THERE:
            continue  # whether it is there now is known once it is read
        if state == "gone":
            gone.append(address)
        if state in ("gone", "unknown", before):
            known[address] = folder, row
        else:
            stale.append(address)
    return {k: v for k, v in indexes.items() if v}, known, stale, gone


def remembered(folder: str) -> list[str]:
    """The names of the tars that the index of a folder knows, those included that are gone."""
    index = load_index(folder)
    return [] if index is None else sorted(index.rows)


def folder_of(address: str) -> str:
    """The folder of a file, as the indexes know it."""
    if is_address(address):
        return address.partition("?")[0].rpartition("/")[0]
    return os.path.dirname(os.path.abspath(address))


def index_path(folder: str | Path) -> Path:
    """Where the index of a folder is written: beside its tars where that can be done."""
    folder = os.fspath(folder)
    if not is_address(folder) and os.access(folder, os.W_OK):
        return Path(folder) / NAME
    return _in_cache(folder)


def load_index(folder: str) -> TarIndex | None:
    """The index of a folder, the newer one of two; None where there is none.

    Raises:
      ValueError: it is damaged, or a store does not give it.
    """
    places = [_in_cache(folder)]
    places.append(_copied(folder) if is_address(folder) else Path(folder) / NAME)
    there = [path for path in places if path.exists()]
    if not there:
        return None
    newest = max(there, key=lambda path: path.stat().st_mtime_ns)
    return _loaded(newest, stamp(newest))


@functools.lru_cache(maxsize=4)
def _loaded(path: Path, _: tuple[int, int, int]) -> TarIndex:
    """An index, opened once while its file stays the same: names are looked up one by one."""
    return TarIndex.load(path)


def scanned(address: str) -> Tar:
    """What a scan finds; of a tar that is not there, that.

    Raises:
      ValueError: it cannot be read now; another time its samples would be data.
    """
    try:
        return scan(address)
    except FileNotFoundError as error:
        nothing = np.empty(0, np.uint16), np.empty(0, np.uint32), np.empty(0, ODD)
        why = f"cannot be read: {error.strerror or error}"
        return Tar(name_of(address), *NOT_THERE, "", *nothing, (0, 0, 0), ("", ""), (), why, 0)
    except OSError as error:
        raise ValueError(
            f"{address} cannot be read: {error.strerror or error}; try again, or leave it out"
        ) from error


def _in_cache(folder: str) -> Path:
    return cache_folder("tars") / f"{hashlib.sha256(folder.encode()).hexdigest()[:24]}.index"


def _copied(folder: str) -> Path:
    """A copy here of the index that lies beside the tars of a store, made anew when it changes.

    Raises:
      ValueError: it is not known whether there is one, or it cannot be copied.
    """
    address, here = child(folder, NAME), _in_cache(folder)
    file = _opened(address)
    if file is None:
        return here.with_suffix(".none")
    which = hashlib.sha256(f"{file.size} {file.tag}".encode()).hexdigest()[:8]
    copy = here.with_suffix(f".{which}")
    try:
        if not copy.exists():
            write_whole(copy, functools.partial(_copy, file))
    except OSError as error:
        raise ValueError(
            f"{address} cannot be copied: {error}; try again, make room, or let VLP_CACHE name a "
            "folder of another disk"
        ) from error
    return copy


def _opened(address: str) -> File | None:
    """An index in a store; None where there is none, or none that may be read, which is said."""
    try:
        return open_file(address) if exists(address) else None
    except FileNotFoundError:  # removed since
        return None
    except PermissionError as error:  # what many stores answer where there is nothing
        _LOG.warning("%s is not used: %s", address, error)
        return None
    except OSError as error:
        raise ValueError(
            f"{address} must be read where it is there, but: {error}; without it other samples "
            "may be used; try again"
        ) from error


def _copy(file: File, path: Path) -> None:
    with path.open("wb") as out:
        for start in range(0, file.size, _COPIED):
            out.write(file.read(start, _COPIED))


def _names_there(folder: str) -> frozenset[str] | None:
    """The files of a store's folder; None where it tells nobody."""
    try:
        return frozenset(map(name_of, listing(folder))) or None
    except OSError:
        return None


def _state(address: str, there: frozenset[str] | None) -> tuple[int, str] | str:
    """Size and tag of a tar; "gone", or "unknown" until it is read."""
    if is_address(address):
        return "gone" if there is not None and name_of(address) not in there else "unknown"
    try:
        status = os.stat(address)
    except FileNotFoundError:
        return "gone"
    except OSError:
        return "unknown"
    return status.st_size, str(status.st_mtime_ns)


def _known_state(index: TarIndex, row: int) -> tuple[int, str]:
    return int(index.fact("size", row)), index.text("tag", row)


def _say_stale(stale: list[str]) -> None:
    if stale:
        _LOG.warning(
            "%s was written or copied since it was indexed%s; the tar is read instead: run "
            "`vlp data index %s`",
            stale[0],
            f", as were {len(stale) - 1:,} others" if stale[1:] else "",
            f"{stale[0]} ..." if stale[1:] else stale[0],
        )


def _found(
    addresses: Sequence[str],
    known: dict[str, tuple[str, int]],
    indexes: dict[str, TarIndex],
    gone: frozenset[str],
) -> Found:
    """Everything together, with an index in memory of what had to be scanned."""
    fresh = [address for address in dict.fromkeys(addresses) if address not in known]
    _say_older(fresh)
    numbers = {folder: number for number, folder in enumerate(indexes)}
    used = [*indexes.values()]
    where = {address: (numbers[folder], row) for address, (folder, row) in known.items()}
    if len(fresh) >= _MANY:
        _LOG.warning(
            "%d tars have no index: their headers are read now, as at every start; `vlp data "
            "index` keeps what is found",
            len(fresh),
        )
    if fresh:
        where |= {address: (len(used), row) for row, address in enumerate(fresh)}
        used.append(TarIndex.of([scanned(address) for address in fresh]))
    return Found(tuple(used), tuple(where[address] for address in addresses), gone)


def _say_older(fresh: list[str]) -> None:
    older = [f"{a}{_OLDER}" for a in fresh if not is_address(a) and os.path.exists(a + _OLDER)]
    if older:
        _LOG.warning(
            "%s is of an older vlp and is not used%s; run `vlp data index` on the tars, and remove "
            "the old ones",
            older[0],
            f", nor are {len(older) - 1:,} others" if older[1:] else "",
        )
