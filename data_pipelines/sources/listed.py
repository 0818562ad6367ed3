"""Lists of samples: uids as DataComp writes them, or keys, one a line or a JSON string each.

References:
  Gadre et al., 2023 (DataComp), https://arxiv.org/abs/2304.14108;
  https://github.com/mlfoundations/datacomp: a subset is an array of pairs of 64-bit numbers.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

UID = np.dtype("u8,u8")  # the halves of 32 hexadecimal digits
_UID = re.compile(r"[0-9a-fA-F]{32}")
_CHUNK = 2**22


class Listed(Protocol):
    """The names that a list holds.

    Attributes:
      by_uid: whether they are uids, not keys.
      sha256: of what is listed.
    """

    by_uid: bool
    sha256: str

    def __len__(self) -> int: ...

    def find(self, names: Sequence[str]) -> np.ndarray:
        """The place of each name in the list, int64 `[n]`; -1 for who is not listed."""
        ...


class Keys(Listed):
    """Keys of samples."""

    by_uid = False

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = {key: place for place, key in enumerate(sorted({*keys}))}
        self.sha256 = hashlib.sha256("\n".join(self._keys).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, names: Sequence[str]) -> np.ndarray:
        """The place of each name in the list, int64 `[n]`; -1 for who is not listed."""
        return np.array([self._keys.get(name, -1) for name in names], np.int64)


class Uids(Listed):
    """Uids in an array, which may be mapped: sorted, as DataComp has them, it is not copied."""

    by_uid = True

    def __init__(self, uids: np.ndarray) -> None:
        self._uids = uids if _is_sorted(uids) else np.sort(uids)
        self.sha256 = hashlib.sha256(self._uids.view(np.uint8).data).hexdigest()

    def __len__(self) -> int:
        return len(self._uids)

    def find(self, names: Sequence[str]) -> np.ndarray:
        """The place of each name in the list, int64 `[n]`; -1 for who is not, or is no uid."""
        valid = np.array([_UID.fullmatch(name) is not None for name in names], bool)
        asked = parse_uids([name for name, is_uid in zip(names, valid, strict=True) if is_uid])
        place = np.minimum(np.searchsorted(self._uids, asked), len(self._uids) - 1)
        found = np.full(len(names), -1)
        found[valid] = np.where(self._uids[place] == asked, place, -1)
        return found


def read_list(path: Path) -> Listed:
    """The list in a file: .npy (uids), .json (a list of strings), or text with one a line.

    Names of 32 hexadecimal digits, all of them, are uids.

    Raises:
      ValueError: it cannot be read as such, or is empty.
    """
    try:
        if path.suffix.lower() == ".npy":
            array = np.load(path, mmap_mode="r", allow_pickle=False)
            if array.dtype != UID or array.ndim != 1:
                raise ValueError(f"its array is {array.dtype} {list(array.shape)}")
            found: Listed = Uids(array)
        else:
            found = _by_content(_names(path))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"a list of samples is an .npy of pairs of 64-bit numbers, a .json list of strings or "
            f"text with one a line, {path} is none: {error}"
        ) from error
    if not len(found):
        raise ValueError(f"a list of samples must name some, {path} names none")
    return found


def parse_uids(names: Sequence[str]) -> np.ndarray:
    """Uids of 32 hexadecimal digits as pairs of 64-bit numbers, `[n]` of dtype `UID`."""
    return np.array([(int(name[:16], 16), int(name[16:], 16)) for name in names], UID)


def _by_content(names: Sequence[str]) -> Listed:
    if names and all(_UID.fullmatch(name) for name in names):
        return Uids(parse_uids(names))
    return Keys(names)


def _names(path: Path) -> list[str]:
    text = path.read_text("utf-8-sig")
    if path.suffix.lower() != ".json":
        return [line.strip() for line in text.splitlines() if line.strip()]
    found = json.loads(text)
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise ValueError("its JSON is no list of strings")
    return found


def _is_sorted(uids: np.ndarray) -> bool:
    for start in range(0, len(uids), _CHUNK):
        part = uids[start : start + _CHUNK + 1]
        high, low = part["f0"], part["f1"]
        before, behind = high[:-1], high[1:]
        if not np.all((before < behind) | ((before == behind) & (low[:-1] <= low[1:]))):
            return False
    return True
