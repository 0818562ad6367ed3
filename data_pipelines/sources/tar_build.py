"""Makes the indexes of tars: in several processes, and only of what is new or has changed.

What is done is kept in parts beside the index while the work goes on, so that a builder that is
killed and started again goes on there.
"""

import dataclasses
import itertools
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

from data_pipelines.io import child, name_of, open_file
from data_pipelines.sources.tar_index import TarIndex, save_index
from data_pipelines.sources.tar_indexes import NOT_THERE, folder_of, index_path, load_index, scanned
from data_pipelines.sources.tar_scan import Tar

_PART = 64  # tars: at most so many are scanned twice
_FEW = 4  # are not worth a process
_NOBODY_KNOWS = (-1, "")
_ASKING = 16  # threads that ask a store for sizes


@dataclasses.dataclass(frozen=True, eq=False)
class Built:
    """An index that was made.

    Attributes:
      path: of its file.
      folder: of the tars.
      tars: in it, by name.
      scanned: how many of them were read for it.
      forgotten: names that it held and that are not there any more.
    """

    path: Path
    folder: str
    tars: tuple[Tar, ...]
    scanned: int
    forgotten: tuple[str, ...]


def build_indexes(
    addresses: Sequence[str | Path],
    *,
    processes: int | None = None,
    done: Callable[[Tar], None] = lambda _: None,
) -> list[Built]:
    """Makes or completes the index of each folder that some tars lie in.

    Args:
      addresses: the tars.
      processes: that scan; as many as there are cores unless given.
      done: is told of every tar that is in an index from now on.

    Raises:
      OSError: an index cannot be written.
      ValueError: a tar cannot be read now; the next call goes on.
    """
    places = sorted({os.fspath(address) for address in addresses}, key=folder_of)
    return [
        _build(folder, list(tars), processes=processes or os.cpu_count() or 1, done=done)
        for folder, tars in itertools.groupby(places, key=folder_of)
    ]


def _build(
    folder: str, addresses: list[str], *, processes: int, done: Callable[[Tar], None]
) -> Built:
    path = index_path(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    before = {tar.name: tar for tar in _known(folder, path)}
    wanted = {name_of(address): address for address in addresses}
    wanted |= {name: child(folder, name) for name in before.keys() - wanted.keys()}
    with ThreadPoolExecutor(_ASKING) as threads:
        states = dict(zip(wanted, threads.map(_state, wanted.values()), strict=True))
    asked = set(map(name_of, addresses))
    tars: dict[str, Tar] = {}
    fresh: list[str] = []
    for name, state in states.items():
        known = (before[name].size, before[name].tag) if name in before else NOT_THERE
        if known != NOT_THERE and state in (known, _NOBODY_KNOWS):
            tars[name] = before[name]
            done(tars[name])
        elif name in asked and (state is not None or name not in before):
            fresh.append(wanted[name])
    forgotten = sorted(before.keys() - tars.keys() - set(map(name_of, fresh)))
    waiting: list[Tar] = []
    for tar in _scans(fresh, processes):
        tars[tar.name] = tar
        done(tar)
        waiting.append(tar)
        if len(waiting) == _PART:
            save_index(_part(path, len(_parts(path))), waiting)
            waiting = []
    found = tuple(tars[name] for name in sorted(tars))
    if found:
        save_index(path, found)
    else:
        path.unlink(missing_ok=True)
    for part in _parts(path):
        part.unlink()
    return Built(path, folder, found, len(fresh), tuple(forgotten))


def _scans(addresses: list[str], processes: int) -> Iterator[Tar]:
    """What each tar holds, as they are done."""
    if len(addresses) < _FEW or processes == 1:
        yield from map(scanned, addresses)
        return
    context = multiprocessing.get_context("spawn")  # no thread or connection comes along
    with ProcessPoolExecutor(min(processes, len(addresses)), mp_context=context) as pool:
        try:
            yield from pool.map(scanned, addresses)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _state(address: str) -> tuple[int, str] | None:
    """Size and tag of a tar; None where it is gone."""
    try:
        file = open_file(address)
    except FileNotFoundError:
        return None
    except OSError:
        return _NOBODY_KNOWS
    file.close()
    return file.size, file.tag


def _known(folder: str, path: Path) -> Iterator[Tar]:
    """What an index and the parts of an earlier attempt say, the latest last."""
    for index in (load_index(folder), *map(_part_or_none, _parts(path))):
        yield from (index.tar(row) for row in range(len(index))) if index is not None else ()


def _part_or_none(path: Path) -> TarIndex | None:
    try:
        return TarIndex.load(path)
    except ValueError:  # written by another version, or by nobody: its tars are scanned again
        return None


def _part(path: Path, number: int) -> Path:
    return path.with_name(f".{path.name}.part-{number:06d}")


def _parts(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f".{path.name}.part-*"))
