"""Image-text pairs in WebDataset tars, read by offset, here or in a store.

KEY.jpg (or another picture), KEY.txt (one caption, whatever its lines), KEY.captions (several, one
a line), KEY.json (an object) and KEY.cls (a label); see `members.ROLES`. JSON is read only where it
is asked for.

What is wrong with a tar costs its own samples and no other one: they are rejects, with a reason.
"""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data_pipelines.faults import Reject
from data_pipelines.io import Ahead, File, FileChanged, OpenFiles, is_address, name_of
from data_pipelines.limits import LIMITS, Limits
from data_pipelines.sources.base import check_index
from data_pipelines.sources.by_member import ByMember
from data_pipelines.sources.fingerprints import joined
from data_pipelines.sources.members import ENCODED
from data_pipelines.sources.survey import Strays, Survey, explained
from data_pipelines.sources.tar_index import TarIndex
from data_pipelines.sources.tar_indexes import find
from data_pipelines.sources.tar_members import Damage, walk
from data_pipelines.sources.tar_scan import CUT, TWICE, odd_rows, stretches, witness

_LOG = logging.getLogger(__name__)
_REJECTED = {CUT: "shard damaged", TWICE: "member twice"}
# So long, in seconds, a tar that could not be read is not tried again: each try takes its time.
_LEFT_ALONE_S = 60.0


class _Parts(NamedTuple):
    """A sample: its tar, its key, start and size of its members by role, why it is rejected, and
    the members that were read with its headers."""

    tar: int
    key: str
    members: dict[str, tuple[int, int]]
    fault: str
    read: dict[str, bytes]


class _Last(threading.local):
    """The sample that this thread asked for last, with its index: image and captions of a sample
    are asked for one after the other. And whether it was read for more than its captions: who asks
    for one picture asks for the next as well."""

    index = -1
    is_encoded = False
    parts: _Parts


class TarSource(ByMember):
    """The samples of one or several tars, one after the other.

    Args:
      paths: the tars, by paths or addresses. An index (`build_indexes`) saves reading all their
        headers at opening, and unpacking those that are compressed.
      name: what reports call the source; the tars' names unless given.
      by_line: whether KEY.txt, too, holds a caption a line.
      limits: how large the parts of a sample may be.

    Raises:
      ValueError: no tar has a sample that can be used, one cannot be read now, or an index is
        damaged.
    """

    def __init__(
        self,
        paths: str | Path | Sequence[str | Path],
        *,
        name: str = "",
        by_line: bool = False,
        limits: Limits = LIMITS,
    ) -> None:
        given = [paths] if isinstance(paths, str | Path) else paths
        self.paths = [os.fspath(path) for path in given]
        if not self.paths:
            raise ValueError("a TarSource needs at least one tar, got an empty list")
        first, last = (os.path.splitext(name_of(self.paths[end]))[0] for end in (0, -1))
        self.name = name or (first if len(self.paths) == 1 else f"{first}..{last}")
        super().__init__(by_line=by_line, limits=limits)
        found = find(self.paths)
        self._indexes, self._where, self._gone = found.indexes, found.where, found.gone
        self._ends = np.cumsum([index.samples[row] for index, row in self._tars()])
        self._say_faults()
        self._files = OpenFiles()
        self._closed: dict[int, tuple[float, str, str]] = {}  # tars that cannot be read, until when
        self._checked: set[int] = set()
        self._last = _Last()

    @cached_property
    def fingerprint(self) -> str:
        """Hash of every tar's fingerprint, in order, and of how captions are told apart."""
        parts = b"".join(index.fact("fingerprint", row) for index, row in self._tars()).decode()
        return joined("lines:" * self.by_line + parts) + self.limits.mark

    def __len__(self) -> int:
        return int(self._ends[-1])

    def survey(self) -> tuple[Survey, ...]:
        """What the tars hold beside pairs, all tars together."""
        strays = Strays()
        without = np.zeros(3, np.int64)
        examples = ["", ""]
        for path, (index, row) in zip(self.paths, self._tars(), strict=True):
            where = f"{name_of(path)}: " if len(self.paths) > 1 else ""
            _, own, some = index.notes(row)
            without += index.fact("without", row)
            named = (key and where + key for key in own)
            examples = [old or new for old, new in zip(examples, named, strict=True)]
            for stray in some:
                strays.add(stray.reason, where + stray.example, count=stray.count)
        images, captions, sounds = without.tolist()
        found = Survey(
            self.name,
            len(self),
            without_image=images,
            without_caption=captions,
            without_audio=sounds if sounds < len(self) else None,
            strays=strays.by_count(),
            image_example=examples[0],
            caption_example=examples[1],
            gone=tuple(path for path in self.paths if path in self._gone),
        )
        return (found,)

    def key(self, index: int) -> str:
        """The sample's key; the tar and a number where the tar cannot be read."""
        try:
            return self.own_key(index)
        except Reject:
            tar, row = self._locate(index)
            return f"{name_of(self.paths[tar])}#{row}"

    def own_key(self, index: int) -> str:
        """The sample's key. Raises Reject where its tar cannot be read."""
        return self._parts(index).key

    def file(self, index: int) -> str:
        """The path of the sample's tar."""
        return self.paths[self._locate(index)[0]]

    def _tars(self) -> Iterator[tuple[TarIndex, int]]:
        """Each tar's index, and its row there."""
        return ((self._indexes[index], row) for index, row in self._where)

    def _locate(self, index: int) -> tuple[int, int]:
        check_index(index, len(self))
        tar = int(self._ends.searchsorted(index, "right"))
        return tar, index - (int(self._ends[tar - 1]) if tar else 0)

    def _member(self, index: int, role: str) -> bytes | None:
        parts = self._parts(index)
        self._last.is_encoded |= role in ENCODED
        if parts.fault:
            raise Reject(parts.fault)
        if role not in parts.members:
            return None
        start, size = parts.members[role]
        self._check_size(role, size)
        found = parts.read.pop(role, None)  # once: who asks again wants to know of changes
        if found is not None:
            return found
        with self._reading(parts.tar) as file:
            data = file.read(start, size)
            if len(data) != size:
                raise FileChanged(f"{size} bytes stood at byte {start}")
        return data

    def _parts(self, index: int) -> _Parts:
        """Key and members of a sample, by the headers that stand where the index says."""
        last = self._last
        if last.index == index:
            return last.parts
        tar, row = self._locate(index)
        number, row_of = self._where[tar]
        places = self._indexes[number].places(row_of)
        kinds = odd_rows(places[2], row)["kind"].tolist() if len(places[2]) else ()
        fault = next((_REJECTED[kind] for kind in kinds if kind in _REJECTED), "")
        with self._reading(tar) as file:
            ahead = Ahead(file, whole=last.is_encoded)
            key, members = _walked(ahead, stretches(*places, row))
        known = {role: ahead.known(*where) for role, where in members.items()}
        read = {role: data for role, data in known.items() if data is not None}
        last.index, last.is_encoded = index, False
        last.parts = _Parts(tar, key, members, fault, read)
        return last.parts

    @contextlib.contextmanager
    def _reading(self, tar: int) -> Iterator[File]:
        """A tar, opened and found to be the one that was indexed.

        Raises:
          Reject: it is not there, is another one, or cannot be read.
        """
        until, reason, detail = self._closed.get(tar, (0.0, "", ""))
        if reason and time.monotonic() < until:
            raise Reject(reason, detail)
        try:
            with self._files.reading(self.paths[tar]) as file:
                if tar not in self._checked:
                    self._check(tar, file)
                yield file
        except (FileChanged, Damage) as error:
            raise self._close(tar, "shard changed", error) from error
        except FileNotFoundError as error:
            raise self._close(tar, "shard gone", error) from error
        except OSError as error:
            raise self._close(tar, "read failed", error) from error

    def _check(self, tar: int, file: File) -> None:
        """Raises FileChanged or Damage where a tar is not the one that was indexed."""
        number, row = self._where[tar]
        index = self._indexes[number]
        size, tag = int(index.fact("size", row)), index.text("tag", row)
        # A store's tag says all; an index that came along with its tars from elsewhere has another.
        by_tag = not is_address(self.paths[tar]) or not tag.isdigit()
        if file.size != size or (by_tag and file.tag != tag):
            raise FileChanged(f"{size} bytes ({tag}) were indexed, it has {file.size} ({file.tag})")
        if tag.isdigit() and witness(file.read, *index.places(row)) != index.fact("witness", row):
            raise FileChanged("other headers stand where its index says")
        self._checked.add(tar)

    def _close(self, tar: int, reason: str, error: Exception) -> Reject:
        """Why a sample of this tar is rejected; the others are for a while without a try."""
        detail = f"{self.paths[tar]}: {getattr(error, 'strerror', None) or error}"
        wait = float("inf") if reason == "shard changed" else _LEFT_ALONE_S
        if all(reason != said for _, said, _ in self._closed.values()):
            _LOG.warning("%s: %s; what is asked for of such tars is only counted", reason, detail)
        self._closed[tar] = time.monotonic() + wait, reason, detail
        self._files.forget(self.paths[tar])
        return Reject(reason, detail)

    def _say_faults(self) -> None:
        """Says which tars are damaged or gone. Raises ValueError where nothing is left."""
        noted = [
            (path, index.tar(row))
            for path, (index, row) in zip(self.paths, self._tars(), strict=True)
            if index.fact("notes", row)
        ]
        bad = [(path, tar) for path, tar in noted if tar.damage]
        empty = sum(not tar.damage and not len(tar) for _, tar in noted)
        if len(bad) + empty == len(self.paths) and not any(tar.usable for _, tar in bad):
            path, tar = (bad or noted)[0]
            raise ValueError(
                f"{path} {tar.damage}"
                if tar.damage
                else "a tar needs at least one sample (KEY.jpg or another picture, KEY.txt), "
                f"{path} has {explained(tar.strays)}"
            )
        if bad:
            path, tar = bad[0]
            _LOG.warning(
                "%s %s; the rest of it is left out, %d samples that come before are used%s",
                path,
                tar.damage,
                tar.usable,
                f"; so are {len(bad) - 1:,} other tars, see `vlp data index`" if bad[1:] else "",
            )
        if self._gone:
            _LOG.warning(
                "%d tars that were indexed are gone, such as %s; their samples are rejects",
                len(self._gone),
                min(self._gone),
            )

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_closed": {}, "_last": None, "_checked": set()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _last=_Last())


def _walked(
    ahead: Ahead, places: Iterator[tuple[int, int]]
) -> tuple[str, dict[str, tuple[int, int]]]:
    """Key and members of the sample that the first of the places begins with."""
    key: str | None = None
    members: dict[str, tuple[int, int]] = {}
    for begin, end in places:
        ahead.until(end)
        for member in walk(ahead.read, begin, end):
            own, role = member.place
            if role is None:
                continue
            key = own if key is None else key
            if own == key:
                members.setdefault(role, (member.start, member.size))
    if key is None:
        raise Damage("no sample stands where its index says")
    return key, members
