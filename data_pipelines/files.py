"""Files and folders that are there whole or not at all; errors that say which they are of."""

import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

PARTIAL = ".partial"


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Lets `write` write a file, or a folder, under another name; readers see it whole or not yet.

    The folder above is made where it is not there. Several may write the same one, as runners of
    jobs let them: the later one stays, whole.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The name is drawn: processes in containers may have the same number.
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}{PARTIAL}")
    try:
        with named(path):
            write(partial)
            if partial.is_dir():
                shutil.rmtree(path, ignore_errors=True)  # of who was not done
            else:
                with partial.open("rb+") as file:
                    os.fsync(file.fileno())
            os.replace(partial, path)
    finally:
        _remove(partial)


def remove_partials(folder: Path, *, of: str = "") -> None:
    """Removes what writers that were killed left in a folder, where nobody writes now.

    Args:
      folder: whose files are looked at.
      of: how the names of the files that were to be written begin; any if not given.
    """
    for leftover in folder.glob(f".{of}*{PARTIAL}"):
        _remove(leftover)


def write_json(path: Path, value: Any) -> None:
    """Writes JSON whole, indented for people to read as well."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    write_whole(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def write_lines(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """Writes JSON lines whole."""

    def write(partial: Path) -> None:
        with partial.open("wb") as file:
            file.writelines(json_bytes(line) + b"\n" for line in lines)

    write_whole(path, write)


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The values of a file of JSON lines."""
    with path.open(encoding="utf-8", newline="\n") as file:
        yield from map(json.loads, file)


def json_bytes(value: Any) -> bytes:
    """JSON in a line; of texts that UTF-8 has not, half a surrogate, as an escape."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace")


@contextlib.contextmanager
def named(path: object) -> Iterator[None]:
    """Gives an OSError from inside that names no file, as on a full disk, this one."""
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        if error.errno is None:
            raise OSError(f"{error}: {str(path)!r}") from error
        raise OSError(error.errno, error.strerror, str(path)) from error


def utf8(name: str) -> str:
    """The name of a file with marks in place of bytes that are not UTF-8, as a text can hold it."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
