"""Arrays in one file that is mapped, not read: whoever opens it holds only what is looked at.

A line of JSON says which arrays there are, and where; they follow, each at a multiple of 64 bytes.
No pickled objects; what points outside the file is refused.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_pipelines.files import write_whole

_MAGIC = b"vlp columns 1\n"
_ALIGN = 64
_LONGEST_HEADER = 2**20


def save(path: Path, columns: Mapping[str, Sequence[np.ndarray]]) -> None:
    """Writes arrays in one step that cannot be seen half done.

    Args:
      path: the file.
      columns: by name, the pieces that make each array, one after the other; all of one type.

    Raises:
      OSError: it cannot be written.
    """
    described = []
    place = 0
    for name, parts in columns.items():
        count, kind = sum(len(part) for part in parts), parts[0].dtype
        described.append(dict(name=name, kind=_named(kind), count=count, place=place))
        place += -(-count * kind.itemsize // _ALIGN) * _ALIGN
    header = _MAGIC + json.dumps(described).encode() + b"\n"

    def write(partial: Path) -> None:
        with partial.open("wb") as file:
            file.write(header + bytes(-len(header) % _ALIGN))
            for parts in columns.values():
                written = sum(file.write(part.tobytes()) for part in parts)
                file.write(bytes(-written % _ALIGN))

    write_whole(path, write)


def load(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file by name, mapped and not to be written.

    Raises:
      ValueError: it is none of these files, or is damaged.
      OSError: it cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.readline(len(_MAGIC)) != _MAGIC:
            raise ValueError(f"{path} is no file of columns that this vlp reads")
        header = file.readline(_LONGEST_HEADER)
        begin = -(-file.tell() // _ALIGN) * _ALIGN
        mapped = np.memmap(file, np.uint8, "r")
    found = {}
    for each in json.loads(header):
        kind = _kind(each["kind"])
        start = begin + int(each["place"])
        stop = start + int(each["count"]) * kind.itemsize
        if kind.hasobject or not begin <= start <= stop <= size:
            raise ValueError(f"{path} is damaged: {each['name']!r} lies outside of it")
        found[each["name"]] = np.asarray(mapped[start:stop]).view(kind)
    return found


def _named(kind: np.dtype) -> Any:
    if kind.names is None:
        return kind.str
    return [(name, kind[name].base.str, kind[name].shape) for name in kind.names]


def _kind(named: Any) -> np.dtype:
    if isinstance(named, str):
        return np.dtype(named)
    return np.dtype([(name, kind, tuple(shape)) for name, kind, shape in named])
