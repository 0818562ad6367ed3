"""Where the samples of an uncompressed tar lie, found by walking its headers once.

Nothing is ever extracted: names only group members into samples, so a name cannot reach outside.
Members that are not plain files (links, devices), whose name is absolute or climbs with `..`, or
whose extension has no role (`members.ROLES`) are not part of any sample: `TarIndex.strays`.

A tar without its end marker (two blocks of zeros that every writer adds) is refused even when it
stops exactly between two members: nothing else would tell a complete file from one that was cut.

References: POSIX pax interchange format (IEEE Std 1003.1); WebDataset's naming rule (the key of a
member is its path up to the first dot of its base name, the rest is the extension).
"""

import dataclasses
import os
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from data_pipelines.sources.fingerprints import TAIL, Fingerprint
from data_pipelines.sources.members import ENCODED, ROLES, role_of, stray_reason
from data_pipelines.sources.survey import Stray, Strays, explained

_ROLES = tuple(dict.fromkeys(ROLES.values()))
BLOCK = 512
_MAX_NAME_BYTES = 64 * 1024
_PLAIN = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_WITHOUT_DATA = (
    tarfile.LNKTYPE,
    tarfile.SYMTYPE,
    tarfile.CHRTYPE,
    tarfile.BLKTYPE,
    tarfile.DIRTYPE,
    tarfile.FIFOTYPE,
)
_LINK = "a link or device, not a file; write the tar with `tar -h --hard-dereference`"
_OUTWARD = "its name leaves the tar (absolute, or with ..)"
_MISSING = (-1, 0, 0)
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}


@dataclasses.dataclass(frozen=True, eq=False)
class TarIndex:
    """Positions of the samples of one tar, in the order in which their keys first appear.

    Attributes:
      names: the keys, UTF-8, one after the other.
      ends: int64 `[n]`, where each key ends in `names`.
      spans: by the role of a member, int64 `[n, 3]`, its start and size in bytes and the CRC-32 of
        its header; start -1 where a sample lacks it. A role that no sample has is not there.
      tar_bytes: size of the tar.
      tar_time: when it was last written, in nanoseconds.
      fingerprint: of every member's name and content, see `fingerprints`.
      strays: members that belong to no sample.
    """

    names: bytes
    ends: np.ndarray
    spans: Mapping[str, np.ndarray]
    tar_bytes: int
    tar_time: int
    fingerprint: str
    strays: tuple[Stray, ...]

    def __len__(self) -> int:
        return len(self.ends)

    def key(self, row: int) -> str:
        """The key of a sample."""
        begin = self.ends[row - 1] if row else 0
        return self.names[begin : self.ends[row]].decode("utf-8", "surrogateescape")

    def span(self, row: int, role: str) -> tuple[int, int, int] | None:
        """Start, size and header's CRC of a member of a sample; None where it has none."""
        if role not in self.spans:
            return None
        start, size, header = self.spans[role][row].tolist()
        return None if start < 0 else (start, size, header)

    def lacking(self, *roles: str) -> np.ndarray:
        """The rows that have no member of any of these roles."""
        missing = np.ones(len(self), bool)
        for role in self.spans.keys() & set(roles):
            missing &= self.spans[role][:, 0] < 0
        return np.flatnonzero(missing)


def scan(path: str | Path) -> TarIndex:
    """Reads the headers of a tar.

    Raises:
      ValueError: compressed, not a tar, cut, two members for one place, or no sample in it.
    """
    path = Path(path)
    rows: dict[str, dict[str, tuple[int, int, int]]] = {}
    seen: dict[tuple[str, str], str] = {}
    strays = Strays()
    fingerprint = Fingerprint()
    with path.open("rb", buffering=0) as opened:
        file = opened.fileno()
        status = os.fstat(file)
        size = status.st_size
        for name, start, length, header, is_link in _members(file, size, path, rows):
            key, role = _place(name)
            if role is None or is_link:
                why = _OUTWARD if _leaves(name) else stray_reason(name.rpartition("/")[2])
                strays.add(_LINK if is_link else why, name)
                continue
            if (key, role) in seen:
                raise ValueError(
                    f"a sample has one member of each kind (a picture, a caption, a .json), but "
                    f"{path} holds both {seen[key, role]!r} and {name!r}; remove one and write the "
                    "tar again"
                )
            seen[key, role] = name
            rows.setdefault(key, {})[role] = (start, length, header)
            fingerprint.add(name, file, start, length, text=role not in ENCODED, tail=TAIL)
    if not rows:
        raise ValueError(
            "a tar needs at least one sample (KEY.jpg or another picture, KEY.txt), "
            + (f"{path} has {explained(strays.by_count())}" if len(strays) else f"{path} has none")
        )
    encoded = [key.encode("utf-8", "surrogateescape") for key in rows]
    used = {role for members in rows.values() for role in members}
    return TarIndex(
        names=b"".join(encoded),
        ends=np.cumsum([len(key) for key in encoded], dtype=np.int64),
        spans={
            role: np.asarray([members.get(role, _MISSING) for members in rows.values()], np.int64)
            for role in _ROLES
            if role in used
        },
        tar_bytes=size,
        tar_time=status.st_mtime_ns,
        fingerprint=fingerprint.hexdigest(),
        strays=strays.by_count(),
    )


def _place(name: str) -> tuple[str, str | None]:
    """The key and the role that a member's name gives it; the role is None if it has none."""
    name = name.removeprefix("./")
    folder, _, base = name.rpartition("/")
    stem, _, extension = base.partition(".")
    if not stem or _leaves(name):
        return "", None
    return f"{folder}/{stem}" if folder else stem, role_of(extension)


def _leaves(name: str) -> bool:
    return name.startswith("/") or ".." in name.split("/")[:-1]


def _members(
    file: int, size: int, path: Path, whole: dict
) -> Iterator[tuple[str, int, int, int, bool]]:
    """Name, start, size and header's CRC of each member that is no folder; whether it has no data.

    `whole` only serves the error messages.
    """
    position = 0
    long_name: str | None = None  # from the header before, for the member after
    extended: dict[str, str] = {}
    _check_uncompressed(os.pread(file, 6, 0), path)
    while True:
        header = os.pread(file, BLOCK, position)
        if len(header) < BLOCK:
            raise _cut(path, f"at byte {size}, where the header of a member or the end", whole)
        if not any(header):
            _check_end(file, position, size, path)
            return
        info = _parse(header, position, path, whole)
        start = position + BLOCK
        length = int(extended.get("size", info.size))
        held = 0 if info.type in _WITHOUT_DATA else -(-length // BLOCK) * BLOCK
        if length < 0 or start + held > size:
            where = f"at byte {size}, inside {info.name!r} (bytes {start} to {start + held}),"
            raise _cut(path, where, whole)
        if info.type == tarfile.GNUTYPE_LONGNAME:
            long_name = _text(file, start, length, path).rstrip("\0")
        elif info.type == tarfile.XHDTYPE:
            extended = _records(_text(file, start, length, path), path)
        elif info.type in _PLAIN or info.type in _WITHOUT_DATA:
            name = extended.get("path") or long_name or info.name
            if info.type != tarfile.DIRTYPE and not name.endswith("/"):
                yield name, start, length, zlib.crc32(header), info.type in _WITHOUT_DATA
            long_name, extended = None, {}
        elif info.type not in (tarfile.XGLTYPE, tarfile.GNUTYPE_LONGLINK):
            raise ValueError(
                f"{path}: {info.name!r} has tar type {info.type!r} (sparse or unknown), which "
                "cannot be read by offset; write the tar again with `tar --format=posix -cf`"
            )
        position = start + held


def _parse(header: bytes, position: int, path: Path, whole: dict) -> tarfile.TarInfo:
    try:
        return tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        raise ValueError(
            f"{path} is not a tar or is damaged: no valid header at byte {position} ({error}), "
            f"after {len(whole)} samples; copy or write it again"
        ) from error


def _check_uncompressed(start: bytes, path: Path) -> None:
    for magic, kind in _COMPRESSED.items():
        if start.startswith(magic):
            raise ValueError(
                f"a tar must not be compressed to be read by offset, {path} is {kind}; "
                "unpack it (for example `gunzip`) and give the .tar"
            )


def _cut(path: Path, where: str, whole: dict) -> ValueError:
    # The last sample seen may lack members, so it is not counted as whole.
    return ValueError(
        f"a tar must end with its end marker, {path} is cut {where} should be; "
        f"{max(0, len(whole) - 1)} whole samples come before. Copy or write it again"
    )


def _check_end(file: int, position: int, size: int, path: Path) -> None:
    """Zeros must follow the end marker: joined tars would lose everything after the first."""
    while chunk := os.pread(file, 1 << 20, position):
        if any(chunk):
            raise ValueError(
                f"{path} has data after its end marker (byte {position} of {size}), as tars "
                "joined with `cat` have; join them with `tar -A` or give them one by one"
            )
        position += len(chunk)


def _text(file: int, start: int, length: int, path: Path) -> str:
    if length > _MAX_NAME_BYTES:
        raise ValueError(
            f"{path}: an extended header may have {_MAX_NAME_BYTES} bytes, the one at byte "
            f"{start} says {length}; write the tar again"
        )
    return os.pread(file, length, start).decode("utf-8", "surrogateescape")


def _records(text: str, path: Path) -> dict[str, str]:
    """The `path` and `size` of a pax header made of "LENGTH KEY=VALUE" lines."""
    found: dict[str, str] = {}
    raw = text.encode("utf-8", "surrogateescape")
    while raw:
        count, _, _ = raw.partition(b" ")
        length = int(count) if count.isdigit() else 0
        key, equals, value = raw[len(count) + 1 : length - 1].partition(b"=")
        if length <= len(count) or not equals or key.startswith(b"GNU.sparse"):
            raise ValueError(
                f"{path}: unreadable or sparse pax header {raw[:40]!r}; write the tar again with "
                "`tar --format=posix -cf`"
            )
        if key in (b"path", b"size"):
            found[key.decode()] = value.decode("utf-8", "surrogateescape")
        raw = raw[length:]
    if not found.get("size", "0").isdigit():
        raise ValueError(f"{path}: a pax size must be a number, got {found['size']!r}")
    return found
