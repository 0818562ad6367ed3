"""What a command may write where: an output replaces only an earlier one of its own kind."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from vlp.remote import Place, names_in, place

_RESULT = re.compile(rb'\{\s*"format": 1,\s*"task": "')  # how `write_json` begins one


class Written(NamedTuple):
    """A kind of file that a command writes.

    Attributes:
        what: of which kind a file is that may be replaced, in words; "" where none may.
        is_ours: whether a file is of that kind.
        suffix: of its name; "" for any.
    """

    what: str
    is_ours: Callable[[Any], bool]
    suffix: str = ""


def check_output(flag: str, path: str | Path, kind: Written) -> None:
    """Refuses to write a file in place of something else; called before any work.

    Args:
        flag: that gave the path.
        path: of the file.
        kind: of the file.

    Raises:
        ValueError: the path has another suffix, is a folder or lies behind a file, or what is there
            is of another kind.
    """
    path = place(path)
    if path.is_dir():
        raise ValueError(f"{flag} must be a file, {path} is a folder; give another")
    if file := file_on_the_way(path.parent):
        raise ValueError(f"{flag} must lie in a folder, {file} is a file; give another")
    if path.suffix.lower() != kind.suffix and kind.suffix:
        better = path.with_suffix(kind.suffix)
        raise ValueError(f"{flag} must end in {kind.suffix}, got {path}; write {better}")
    if path.exists() and not (path.is_file() and kind.is_ours(path)):
        new = f"new or {kind.what}" if kind.what else "new"
        raise ValueError(f"{flag} must be {new}, {path} holds something else; give another")


def check_folder(flag: str, path: Place, *, manifest: str, ours: str) -> None:
    """Refuses to write into a folder of something else; called before any work.

    Args:
        flag: that gave the path.
        path: of the folder.
        manifest: the file in it by which an earlier one of the same kind is known.
        ours: what that is, in words.

    Raises:
        ValueError: the path is a file, or holds other files.
    """
    if file := file_on_the_way(path):
        raise ValueError(f"{flag} must be a folder, {file} is a file; give another")
    # A dot begins locks and leftovers.
    others = [name for name in names_in(path) if not name.startswith(".")]
    if others and manifest not in others:
        raise ValueError(
            f"{flag} must be new, empty or {ours}, {path} holds other files, such as "
            f"{min(others)}; give another folder"
        )


def file_on_the_way(folder: Place) -> Path | None:
    """What is no folder on the way to one, or in its place; in a store nothing is in the way."""
    if not isinstance(folder, Path):
        return None
    way = (folder, *folder.parents)
    return next((path for path in way if path.exists() and not path.is_dir()), None)


def _is_result(path: Place) -> bool:
    with path.open("rb") as file:
        return _RESULT.match(file.read(100)) is not None


def _is_sheet(path: Path) -> bool:
    from vlp.evals.draw import is_sheet  # which takes long to import

    return is_sheet(path)


RESULT = Written("an earlier result of vlp eval", _is_result, ".json")
SHEET = Written("a sheet that vlp has drawn", _is_sheet, ".png")
CAPTIONS = Written(
    "of an earlier vlp caption",
    lambda path: path.with_name(f"{path.name}.manifest.json").is_file(),  # `CaptionFile` reads on
)
TOKENIZER = Written("", lambda _: False, ".model")  # runs may read by the one that is there
