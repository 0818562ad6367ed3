"""The index of a tar as a file beside it: `X.tar.index`, opened in a millisecond.

An uncompressed `.npz` without pickled objects. It is used for the very tar that it was made of:
where size, time or the headers of a few members are others, it is left aside with a word and the
tar's headers are read instead. So is one that an older vlp wrote. A damaged one is refused.
"""

import dataclasses
import json
import logging
import os
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from data_pipelines.sources.members import is_read_now
from data_pipelines.sources.survey import Stray
from data_pipelines.sources.tar_index import BLOCK, TarIndex, scan

_LOG = logging.getLogger(__name__)
_VERSION = 3  # 2 had neither the tar's time nor the headers
_SPANS = "spans/"
_CHECKED_MEMBERS = 8
_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, OSError, EOFError, BadZipFile)


def index_path(path: str | Path) -> Path:
    """Where the index of a tar lies."""
    return Path(f"{path}.index")


def build_index(path: str | Path) -> Path:
    """Scans a tar and writes its index beside it, in one step that cannot be seen half done.

    Raises:
      ValueError: the tar cannot be used; see `tar_index.scan`.
    """
    index = scan(path)
    target = index_path(path)
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".index-", delete=False) as file:
        try:
            np.savez(file, allow_pickle=False, **_arrays(index))
            file.flush()
            os.fsync(file.fileno())
            os.chmod(file.name, 0o644)
            os.replace(file.name, target)
        except BaseException:
            os.unlink(file.name)
            raise
    return target


def load_index(path: str | Path) -> TarIndex:
    """The index of a tar: read from beside it when there is one that fits, else scanned.

    Raises:
      ValueError: the index is damaged, or the tar cannot be used.
    """
    return load_indexes([path])[0]


def load_indexes(paths: Sequence[str | Path]) -> list[TarIndex]:
    """The index of each tar, as `load_index`; those that do not fit are said in one line."""
    found = []
    unused: list[tuple[Path, str]] = []
    for path in map(Path, paths):
        index, why = _beside(path)
        found.append(scan(path) if index is None else index)
        if why:
            unused.append((path, why))
    if unused:
        path, why = unused[0]
        _LOG.warning(
            "%s %s and is not used%s; run `vlp data index %s`",
            index_path(path),
            why,
            f", nor are those of {len(unused) - 1:,} other tars" if unused[1:] else "",
            f"{path} ..." if unused[1:] else path,
        )
    return found


def _beside(path: Path) -> tuple[TarIndex | None, str]:
    """The index beside a tar, or None and why it cannot be used; "" where there is none."""
    sidecar = index_path(path)
    if not sidecar.exists():
        return None, ""
    try:
        index = _read(sidecar)
    except _UNREADABLE as error:
        raise _refused(path, f"cannot be read ({error})") from error
    if index is None or any(is_read_now(stray.reason) for stray in index.strays):
        return None, "is of an older vlp"
    why = _misfit(index, path)
    return (None if why else index), why


def _read(sidecar: Path) -> TarIndex | None:
    """What a file says; None if it is of an older version."""
    # Opened here: numpy leaves a file that is no archive open.
    with sidecar.open("rb") as file, np.load(file, allow_pickle=False) as data:
        version = int(data["version"])
        if version < _VERSION:
            return None
        if version > _VERSION:
            raise ValueError(f"version {version}, this vlp reads {_VERSION}")
        return TarIndex(
            names=data["names"].tobytes(),
            ends=data["ends"].astype(np.int64, casting="safe"),
            spans={
                name.removeprefix(_SPANS): data[name].astype(np.int64, casting="safe")
                for name in data.files
                if name.startswith(_SPANS)
            },
            tar_bytes=int(data["tar_bytes"]),
            tar_time=int(data["tar_time"]),
            fingerprint=data["fingerprint"].tobytes().decode(),
            strays=tuple(Stray(**stray) for stray in json.loads(data["strays"].tobytes())),
        )


def _arrays(index: TarIndex) -> dict[str, np.ndarray]:
    """What the file holds."""
    strays = json.dumps([dataclasses.asdict(stray) for stray in index.strays])
    return {
        "version": np.asarray(_VERSION, np.int64),
        "names": np.frombuffer(index.names, np.uint8),
        "ends": index.ends,
        **{_SPANS + role: spans for role, spans in index.spans.items()},
        "tar_bytes": np.asarray(index.tar_bytes, np.int64),
        "tar_time": np.asarray(index.tar_time, np.int64),
        "fingerprint": np.frombuffer(index.fingerprint.encode(), np.uint8),
        "strays": np.frombuffer(strays.encode(), np.uint8),
    }


def _misfit(index: TarIndex, path: Path) -> str:
    """Why an index is not of a tar as it is; "" where it is. Raises ValueError if damaged."""
    status = path.stat()
    if index.tar_bytes != status.st_size:
        return f"is of a tar of {index.tar_bytes} bytes, this one has {status.st_size},"
    if index.tar_time != status.st_mtime_ns:
        return "is of another tar, or this one was written or copied since,"
    _check(index, path)
    rows = np.unique(np.linspace(0, len(index) - 1, _CHECKED_MEMBERS).astype(int)).tolist()
    with path.open("rb", buffering=0) as file:
        for role in index.spans:
            for start, _, header in filter(None, (index.span(row, role) for row in rows)):
                if zlib.crc32(os.pread(file.fileno(), BLOCK, start - BLOCK)) != header:
                    return f"is of another tar (another header stands before byte {start})"
    return ""


def _check(index: TarIndex, path: Path) -> None:
    """Raises ValueError where what an index says cannot be of any tar of its size."""
    n = len(index)
    shapes = {role: spans.shape for role, spans in index.spans.items()}
    if n == 0 or set(shapes.values()) != {(n, 3)} or len(index.names) != index.ends[-1]:
        raise _refused(path, f"holds {n} keys and positions of shape {shapes}")
    if (np.diff(index.ends) < 0).any():
        raise _refused(path, "holds keys that end before they begin")
    for spans in index.spans.values():
        start, length = spans[:, 0], spans[:, 1]
        inside = (start >= BLOCK) & (length >= 0) & (start + length <= index.tar_bytes)
        if not (inside | (start < 0)).all():
            raise _refused(path, "points outside the tar")


def _refused(path: Path, why: str) -> ValueError:
    return ValueError(
        f"an index must fit its tar, but {index_path(path)} {why}; run `vlp data index {path}`"
    )
