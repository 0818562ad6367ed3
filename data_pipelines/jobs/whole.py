"""Files and folders of shards that are there whole or not at all."""

import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

PARTIAL = ".partial"


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Lets `write` write a file, or a folder, under another name, and then gives it its own.

    Two workers may write the same one, as runners let them: the later one stays, whole.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}{PARTIAL}")
    try:
        write(partial)
        if partial.is_dir():
            shutil.rmtree(path, ignore_errors=True)  # of a part that was not done
        else:
            with partial.open("rb+") as file:
                os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        _remove(partial)


def remove_partials(folder: Path) -> None:
    """Removes what writers that were killed left in a folder, where nobody writes now."""
    for leftover in folder.glob(f".*{PARTIAL}"):
        _remove(leftover)


def write_json(path: Path, value: Any) -> None:
    """Writes JSON whole, indented for people to read as well."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    write_whole(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def write_lines(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """Writes JSON lines whole."""

    def write(partial: Path) -> None:
        with partial.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)

    write_whole(path, write)


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The values of a file of JSON lines."""
    with path.open(encoding="utf-8", newline="\n") as file:
        yield from map(json.loads, file)


def utf8(name: str) -> str:
    """The name of a file with marks in place of bytes that are not UTF-8, as a text can hold it."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
