"""What a data spec names: its parts, their patterns and ranges, and what stands there."""

import fnmatch
import glob
import os
import re
from collections.abc import Iterator
from pathlib import Path

from data_pipelines.faults import shown
from data_pipelines.io import child, is_address, listing
from data_pipelines.io.address import checked
from data_pipelines.sources.tar_indexes import remembered

EMOJI, STDIN, TFDS, SYNTHETIC = "emoji:", "-", "tfds:", "synthetic:"
_NAMES = (EMOJI, TFDS, SYNTHETIC)
_RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)")
_BRACES = re.compile(r"\{(-?\d+\.\.-?\d+|[^{}]*,[^{}]*)\}")
_COMMA = re.compile(r",(?![^{}]*\})")  # not within braces
_MAGIC = re.compile(r"[*?\[]")
_MOST_NAMES = 1_000_000


def paths_of(spec: str) -> Iterator[Path | str]:
    """What stands where each part of a spec points, in order; `emoji:noto` and its like stay so.

    Tars that were there when they were indexed are named, too: their samples keep their places.

    Args:
      spec: parts joined by commas; a path that exists is taken as it stands. Of what lies in a
        store the address, a text.

    Raises:
      ValueError: a part is empty, of a store that nobody knows, or names nothing.
    """
    pieces = [spec] if os.path.exists(spec) else _COMMA.split(spec)
    while pieces:
        count, found = _first_part(pieces)
        del pieces[:count]
        yield from found


def _first_part(pieces: list[str]) -> tuple[int, list[Path | str]]:
    """How many pieces make the first part, whose path may hold commas itself, and what it names."""
    refusal: ValueError | None = None
    for count in range(1, len(pieces) + 1):
        try:
            return count, _expand(",".join(pieces[:count]))
        except ValueError as error:
            refusal = refusal or error
    assert refusal is not None, "there was a piece"
    raise refusal


def _expand(part: str) -> list[Path | str]:
    """The paths that one part names."""
    part = part if os.path.exists(part) else part.strip()
    if not part:
        raise ValueError("a data spec must not have empty parts; leave out one comma")
    if part.startswith("pipe:"):
        raise ValueError(f"data are not read from other programs, got {part!r}; write files")
    if part.startswith(TFDS) and is_address(part.removeprefix(TFDS)):
        raise ValueError(
            f"what TFDS prepared is read from a disk, got {part}; copy the folder to this machine "
            "and name it there"
        )
    if part == STDIN or part.startswith(_NAMES) or os.path.exists(part):
        return [Path(part)]
    braces = _BRACES.search(part)
    if braces:
        before, after = part[: braces.start()], part[braces.end() :]
        if before.count("{") > before.count("}"):
            raise ValueError(f"braces must not stand within braces, got {part!r}; write them out")
        return [p for word in _words(braces[1]) for p in _expand(before + word + after)]
    if is_address(part):
        return [*_in_store(part)]
    if os.path.basename(part) in remembered(os.path.dirname(part) or "."):
        return [Path(part)]
    # Brackets in a folder that exists are no pattern.
    folder, base = os.path.split(part)
    pattern = os.path.join(glob.escape(folder), base) if os.path.isdir(folder) else part
    found = sorted({*glob.glob(pattern, recursive=True), *_remembered(folder, base)})
    if not found:
        raise ValueError(_nothing(part))
    if "**" in pattern:  # a folder that was found is read as a whole
        folders = {Path(path) for path in found if os.path.isdir(path)}
        found = [path for path in found if folders.isdisjoint(Path(path).parents)]
    return [Path(path) for path in found]


def existing(path: str) -> Path | str:
    """A path that is no pattern.

    Raises:
      ValueError: there is nothing.
    """
    if is_address(path):
        return path
    if not os.path.exists(path):
        raise ValueError(_nothing(path))
    return Path(path)


def _in_store(part: str) -> list[str]:
    """The addresses that one of them names, which may be a pattern."""
    checked(part)
    if not _MAGIC.search(part):
        return [part]
    folder, _, base = part.rpartition("/")
    try:
        found = sorted({*listing(part), *_remembered(folder, base)})
    except OSError as error:
        raise ValueError(f"{part} cannot be listed: {error}; name the files one by one") from error
    if not found:
        raise ValueError(f"no data at {part!r}")
    return found


def _remembered(folder: str, pattern: str) -> list[str]:
    """The tars of a folder's index that a pattern names."""
    if _MAGIC.search(folder):
        return []
    names = fnmatch.filter(remembered(folder or "."), pattern)
    return [child(folder, name) for name in names]


def _words(braces: str) -> Iterator[str]:
    """What a shell makes of `{0..12}`, `{000..012}` and `{a,b}`."""
    numbers = _RANGE.fullmatch(braces)
    if numbers is None:
        yield from braces.split(",")
        return
    low, high = numbers.groups()
    padded = any(len(word.lstrip("-")) > 1 and word.lstrip("-")[0] == "0" for word in (low, high))
    width = max(len(low), len(high)) if padded else 0
    step = 1 if int(low) <= int(high) else -1
    if abs(int(high) - int(low)) >= _MOST_NAMES:
        raise ValueError(f"a range may name {_MOST_NAMES:,} files, {{{braces}}} names more")
    for number in range(int(low), int(high) + step, step):
        yield f"{number:0{width}}"


def _nothing(part: str) -> str:
    folder = Path(part).parent
    tars = sorted(path.name for path in folder.glob("*.tar")) if folder.is_dir() else []
    near = [shown(name) for name in tars[:5]]
    if part[0] == part[-1] and part[0] in "'\"":
        return f"no data at {part!r}; leave the quotes out of the path"
    return f"no data at {part!r}; " + (
        f"{folder} holds {', '.join(near)}" if near else f"{folder} holds no .tar"
    )
