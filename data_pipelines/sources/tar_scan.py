"""What is known of a tar once its headers have been walked: where its samples lie, and what is not
as it should be.

A sample is a *stretch*: from its first header to the first header of the next sample. Members of it
that lie behind that are found by a row of `odd`, as is what is longer than 16 bits say, and what
cannot be used. A tar without its end marker (two blocks of zeros that every writer adds) counts as
cut even when it stops exactly between two members: nothing else would tell it from a complete one.
"""

import dataclasses
import json
import zlib
from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt16, UInt32

from data_pipelines.faults import shown
from data_pipelines.io import File, name_of, open_file
from data_pipelines.sources.fingerprints import TAIL, Fingerprint
from data_pipelines.sources.members import AUDIO, ENCODED, IMAGE, LINES, ROLES, TEXT
from data_pipelines.sources.survey import Stray, Strays
from data_pipelines.sources.tar_members import BLOCK, Damage, Member, Read, check_end, walk

GROUP = 64  # samples that share an absolute place
ESCAPE = 65535  # in place of a length that needs more than 16 bits: see the row of `odd`
LONG, APART, CUT, TWICE = range(4)  # why a sample has a row in `odd`
ODD = np.dtype([("sample", "<i8"), ("block", "<u4"), ("blocks", "<u4"), ("kind", "<u4")])
_BITS = {role: 1 << number for number, role in enumerate(dict.fromkeys(ROLES.values()))}
_LOOKED_AT = 4
_TOO_LARGE = 2**32 * BLOCK  # places are 32-bit numbers of blocks
_DAMAGED = "a tar whose rest is left out, for it cannot be read; copy or write it again"
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}


@dataclasses.dataclass(frozen=True, eq=False)
class Tar:
    """One tar of an index.

    Attributes:
      name: of the file.
      size: in bytes.
      tag: of the file when it was scanned, see `io.File`.
      fingerprint: of every member's name and content, see `fingerprints`.
      blocks: uint16 `[n]`, how long each sample's stretch is, in blocks of 512 bytes.
      bases: uint32 `[ceil(n / 64)]`, where every 64th sample begins, in blocks.
      odd: what else there is to know of some samples, by sample.
      without: how many samples have no picture, no caption, no sound.
      examples: keys of samples without a picture and without a caption; "" for none.
      strays: members that belong to no sample, and what else is wrong.
      damage: why the tar, or its rest, cannot be read; "" where all of it can.
      witness: a checksum of the headers of some samples, see `witness`.
    """

    name: str
    size: int
    tag: str
    fingerprint: str
    blocks: UInt16[np.ndarray, "n"]
    bases: UInt32[np.ndarray, "groups"]
    odd: np.ndarray
    without: tuple[int, int, int]
    examples: tuple[str, str]
    strays: tuple[Stray, ...]
    damage: str
    witness: int

    def __len__(self) -> int:
        return len(self.blocks)

    @property
    def usable(self) -> int:
        """Samples that no fault is known of."""
        bad = self.odd["sample"][self.odd["kind"] >= CUT]
        return len(self) - len(np.unique(bad))

    @property
    def notes(self) -> str:
        """What is only told, as JSON; "" where there is nothing to tell."""
        found = [self.damage, self.examples, [dataclasses.astuple(stray) for stray in self.strays]]
        return json.dumps(found) if self.damage or any(self.examples) or self.strays else ""


def scan(address: str | Path) -> Tar:
    """Reads the headers of a tar, and what its fingerprint needs of the contents.

    Raises:
      OSError: it is not there, or cannot be read.
    """
    file = open_file(address)
    try:
        return _Scan(file).run()
    finally:
        file.close()


def stretches(
    blocks: UInt16[np.ndarray, "n"], bases: UInt32[np.ndarray, "groups"], odd: np.ndarray, row: int
) -> Iterator[tuple[int, int]]:
    """Begin and end, in bytes, of the places where a sample's members lie.

    Args:
      blocks, bases, odd: see `Tar`; samples are counted as in `odd`, from 0.
      row: the sample.
    """
    first = row - row % GROUP
    before = blocks[first:row].tolist()
    begin = int(bases[row // GROUP]) + sum(before)
    if ESCAPE in before:
        begin += sum(_long(odd, first + i) - ESCAPE for i, n in enumerate(before) if n == ESCAPE)
    length = int(blocks[row])
    yield begin * BLOCK, (begin + (_long(odd, row) if length == ESCAPE else length)) * BLOCK
    for extra in odd_rows(odd, row) if len(odd) else ():
        if extra["kind"] == APART:
            begin = int(extra["block"])
            yield begin * BLOCK, (begin + int(extra["blocks"])) * BLOCK


def odd_rows(odd: np.ndarray, row: int) -> np.ndarray:
    """What is odd about a sample."""
    first, stop = np.searchsorted(odd["sample"], (row, row + 1))
    return odd[first:stop]


def witness(
    read: Read,
    blocks: UInt16[np.ndarray, "n"],
    bases: UInt32[np.ndarray, "groups"],
    odd: np.ndarray,
) -> int:
    """A checksum of all headers of four samples that are spread over a tar.

    Raises:
      Damage: no headers stand where they should.
    """
    found = 0
    for row in np.unique(np.linspace(0, len(blocks) - 1, _LOOKED_AT).astype(int)).tolist():
        for begin, end in stretches(blocks, bases, odd, row):
            for member in walk(read, begin, end):
                found = zlib.crc32(member.header, found)
    return found


def _long(odd: np.ndarray, row: int) -> int:
    rows = odd_rows(odd, row)
    lengths = rows["blocks"][rows["kind"] == LONG]
    if not len(lengths):
        raise Damage("the index does not say how long a sample is")
    return int(lengths[0])


def _check_readable(file: File) -> None:
    if file.length >= _TOO_LARGE:
        raise Damage("has 2 TiB or more, and a tar must be smaller; split it")
    start = file.read(0, 6)
    for magic, kind in _COMPRESSED.items():
        if start.startswith(magic):
            raise Damage(
                f"is {kind}, unlike what its name says; unpack it, or give it the name of what it "
                "is, such as .tar.gz or .tar.zst"
            )


class _Scan:
    """One walk over a tar."""

    def __init__(self, file: File) -> None:
        self.file = file
        self.rows: dict[str, int] = {}
        self.firsts: list[int] = []  # blocks
        self.roles: list[int] = []  # bits
        self.odd: list[tuple[int, int, int, int]] = []
        self.strays = Strays()
        self.fingerprint = Fingerprint()
        self.last = 0  # behind the last member
        self.end = 0  # where the end marker stands

    def run(self) -> Tar:
        """All that is known of the tar."""
        damage = ""
        try:
            _check_readable(self.file)
            for member in self._members():
                self._add(member)
            check_end(self.file.read, self.end, self.file.length)
        except Damage as error:
            damage = str(error)
            self.strays.add(_DAMAGED, name_of(self.file.address))
            if self.firsts and not error.whole:
                self.odd.append((len(self.firsts) - 1, 0, 0, CUT))
        if not damage and not self.rows and not len(self.strays):
            self.strays.add("a tar that holds nothing", name_of(self.file.address))
        return self._tar(damage)

    def _members(self) -> Generator[Member, None, None]:
        self.end = yield from walk(self.file.read, 0, self.file.length)

    def _add(self, member: Member) -> None:
        self.last = member.end
        key, role = member.place
        if role is None:
            self.strays.add(member.stray_reason, member.name)
            return
        row = self.rows.setdefault(key, len(self.rows))
        begin, blocks = member.begin // BLOCK, (member.end - member.begin) // BLOCK
        if row == len(self.firsts):
            self.firsts.append(begin)
            self.roles.append(0)
        elif row < len(self.firsts) - 1:
            self.odd.append((row, begin, blocks, APART))
        if self.roles[row] & _BITS[role]:
            self.odd.append((row, 0, 0, TWICE))
            what = f"a second member for the {role} of one sample, which is left out; remove one"
            self.strays.add(what, member.name)
        self.roles[row] |= _BITS[role]
        self.fingerprint.add(
            member.name,
            lambda start, length: self.file.read(member.start + start, length),
            member.size,
            text=role not in ENCODED,
            tail=TAIL,
        )

    def _tar(self, damage: str) -> Tar:
        places = np.asarray([*self.firsts, self.last // BLOCK], np.int64)
        lengths = np.diff(places)
        for row in np.flatnonzero(lengths >= ESCAPE).tolist():
            self.odd.append((row, 0, int(lengths[row]), LONG))
        odd = np.asarray(sorted(set(self.odd)), ODD)
        blocks = np.minimum(lengths, ESCAPE).astype(np.uint16)
        bases = places[:-1][::GROUP].astype(np.uint32)
        without = [self._without(roles) for roles in ((IMAGE,), (TEXT, LINES), (AUDIO,))]
        return Tar(
            name=name_of(self.file.address),
            size=self.file.size,
            tag=self.file.tag,
            fingerprint=self.fingerprint.hexdigest(),
            blocks=blocks,
            bases=bases,
            odd=odd,
            without=(without[0][0], without[1][0], without[2][0]),
            examples=(without[0][1], without[1][1]),
            strays=self.strays.by_count(),
            damage=damage,
            witness=witness(self.file.read, blocks, bases, odd) if len(blocks) else 0,
        )

    def _without(self, roles: tuple[str, ...]) -> tuple[int, str]:
        """How many samples have no member of these roles, and the key of the first."""
        mask = sum(_BITS[role] for role in roles)
        lacking = np.flatnonzero((np.asarray(self.roles, np.int64) & mask) == 0)
        if not len(lacking):
            return 0, ""
        row = int(lacking[0])
        return len(lacking), shown(next(key for key, each in self.rows.items() if each == row))
