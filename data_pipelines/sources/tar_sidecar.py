"""The index of a tar as a file beside it: `X.tar.index`, opened in a millisecond.

An uncompressed `.npz` without pickled objects. It is checked against its tar at opening (size,
and the headers of a few members), and refused when they do not fit. One that an older vlp wrote is
left aside, and the tar's headers are read instead.
"""

import dataclasses
import json
import logging
import os
import tarfile
import tempfile
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from data_pipelines.sources.survey import Stray
from data_pipelines.sources.tar_index import BLOCK, TarIndex, scan

_LOG = logging.getLogger(__name__)
_VERSION = 2  # 1 had neither all members' roles nor what belongs to no sample
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
    """The index of a tar: read from beside it when there is one of this version, else scanned.

    Raises:
      ValueError: the index is unreadable or belongs to another tar, or the tar cannot be used.
    """
    path = Path(path)
    sidecar = index_path(path)
    if not sidecar.exists():
        return scan(path)
    try:
        index = _read(sidecar)
    except _UNREADABLE as error:
        raise _refused(path, f"cannot be read ({error})") from error
    if index is None:
        _LOG.warning("%s is of an older vlp and not used; run `vlp data index %s`", sidecar, path)
        return scan(path)
    _verify(index, path)
    return index


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
            fingerprint=data["fingerprint"].tobytes().hex(),
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
        "fingerprint": np.frombuffer(bytes.fromhex(index.fingerprint), np.uint8),
        "strays": np.frombuffer(strays.encode(), np.uint8),
    }


def _verify(index: TarIndex, path: Path) -> None:
    size = path.stat().st_size
    if index.tar_bytes != size:
        raise _refused(path, f"is of a tar of {index.tar_bytes} bytes, this one has {size}")
    n = len(index)
    shapes = {role: spans.shape for role, spans in index.spans.items()}
    if n == 0 or set(shapes.values()) != {(n, 2)} or len(index.names) != index.ends[-1]:
        raise _refused(path, f"holds {n} keys and positions of shape {shapes}")
    if (np.diff(index.ends) < 0).any():
        raise _refused(path, "holds keys that end before they begin")
    checked = np.unique(np.linspace(0, n - 1, _CHECKED_MEMBERS).astype(int)).tolist()
    with path.open("rb", buffering=0) as file:
        for spans in index.spans.values():
            start, length = spans[:, 0], spans[:, 1]
            if (length < 0).any() or (start + length > size).any():
                raise _refused(path, "points outside the tar")
            for row in checked:
                if start[row] >= 0:
                    place = int(start[row]), int(length[row])
                    _check_member(file.fileno(), *place, index.key(row), path)


def _check_member(file: int, start: int, length: int, key: str, path: Path) -> None:
    header = os.pread(file, BLOCK, max(0, start - BLOCK))
    try:
        info = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        raise _refused(path, f"puts {key!r} at byte {start}, where no member begins") from error
    # Long or non-ASCII names stand in an extended header before this one, and so does a size
    # that does not fit.
    named = len(key) > 90 or not key.isascii() or info.name.removeprefix("./").startswith(key)
    if not named or (info.size != length and info.size != 0):
        raise _refused(
            path,
            f"puts {key!r} with {length} bytes at byte {start}, where {info.name!r} with "
            f"{info.size} bytes lies",
        )


def _refused(path: Path, why: str) -> ValueError:
    return ValueError(
        f"an index must fit its tar, but {index_path(path)} {why}; run `vlp data index {path}`"
    )
