"""Image-text pairs in a folder: image files and a captions.csv or captions.jsonl.

Each row names an image by a path below the folder and gives one caption; several rows for one image
are several captions, the first is THE caption. Links inside the folder are followed: they are its
owner's own. A row whose image does not exist stays a sample and is rejected when it is read.
"""

import csv
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from data_pipelines.faults import Reject
from data_pipelines.sources.base import (
    MAX_IMAGE_BYTES,
    Sample,
    check_index,
    parse_metadata,
    whole_sample,
)

_IMAGE_COLUMNS = ("image", "file", "filename", "file_name", "filepath", "path")
_CAPTION_COLUMNS = ("caption", "text", "title")


class FolderSource:
    """A folder of images with captions.csv (with a header) or captions.jsonl.

    Args:
      folder: where they lie. Columns: the image is called one of image, file, filename, file_name,
        filepath, path; the caption one of caption, text, title.
      name: what reports call the source; the folder's name unless given.

    Raises:
      ValueError: no caption file or two, no known column, an unreadable row, a path that leaves the
        folder, or no rows.
    """

    def __init__(self, folder: str | Path, *, name: str = "") -> None:
        self.folder = Path(folder)
        self.name = name or self.folder.resolve().name
        self._table = _table(self.folder)
        captions: dict[str, list[str]] = {}
        rows = _csv_rows if self._table.suffix == ".csv" else _jsonl_rows
        for line, image, caption in rows(self._table):
            captions.setdefault(_inside(image, line, self._table), []).append(caption)
        if not captions:
            raise ValueError(f"{self._table} must have at least one row, it has none")
        self._images = list(captions)
        self._captions = [tuple(texts) for texts in captions.values()]

    @property
    def fingerprint(self) -> str:
        """Hash of the caption file and of every image's name and size."""
        digest = hashlib.sha256(self._table.read_bytes())
        for image in self._images:
            try:
                size = os.stat(self.folder / image).st_size
            except OSError:
                size = -1
            digest.update(b"%s\0%d\0" % (image.encode("utf-8", "surrogateescape"), size))
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self._images)

    def key(self, index: int) -> str:
        """The image's path below the folder."""
        return self._images[check_index(index, len(self))]

    def image(self, index: int) -> bytes:
        """The image file."""
        return _read_image(self.folder / self.key(index))

    def captions(self, index: int) -> tuple[str, ...]:
        """The captions of the rows that name this image."""
        rows = self._captions[check_index(index, len(self))]
        texts = tuple(text for text in rows if text.strip())
        if not texts:
            raise Reject("caption empty")
        return texts

    def meta(self, index: int) -> dict[str, str]:
        """Nothing: such a folder tells images and captions only."""
        check_index(index, len(self))
        return {}

    def __getitem__(self, index: int) -> Sample:
        return whole_sample(self, index)


def _table(folder: Path) -> Path:
    tables = (folder / "captions.csv", folder / "captions.jsonl")
    found = [table for table in tables if table.exists()]
    if len(found) != 1:
        raise ValueError(
            f"a folder of images needs one captions.csv or captions.jsonl, {folder} has "
            + ("both; remove one" if found else "neither")
        )
    return found[0]


def _csv_rows(table: Path) -> Iterator[tuple[int, str, str]]:
    # surrogateescape keeps bytes that are not UTF-8 as they are, so only their sample is rejected.
    with table.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        rows = csv.reader(file)
        try:
            header = [column.strip().lower() for column in next(rows, [])]
            image = _column(header, _IMAGE_COLUMNS, table)
            caption = _column(header, _CAPTION_COLUMNS, table)
            for row in rows:
                if not row:
                    continue
                if len(row) != len(header):
                    raise ValueError(
                        f"{table}, line {rows.line_num}: {len(header)} columns are needed, got "
                        f"{len(row)}; put captions with commas in double quotes"
                    )
                yield rows.line_num, row[image], row[caption]
        except csv.Error as error:
            raise ValueError(
                f"{table}, line {rows.line_num}: {error}; correct or shorten that row"
            ) from error


def _jsonl_rows(table: Path) -> Iterator[tuple[int, str, str]]:
    with table.open("rb") as file:
        for line, raw in enumerate(file, start=1):
            if not raw.strip():
                continue
            try:
                row = parse_metadata(raw)
            except Reject as error:
                raise ValueError(
                    f"{table}, line {line}: one JSON object a line is needed ({error.detail})"
                ) from error
            image = row[_one_of(row, _IMAGE_COLUMNS, f"{table}, line {line}")]
            caption = row[_one_of(row, _CAPTION_COLUMNS, f"{table}, line {line}")]
            for text in caption if isinstance(caption, list) else [caption]:
                if not isinstance(image, str) or not isinstance(text, str):
                    raise ValueError(
                        f"{table}, line {line}: image and caption must be strings, got "
                        f"{json.dumps(row)[:80]}"
                    )
                yield line, image, text


def _column(header: list[str], names: tuple[str, ...], table: Path) -> int:
    return header.index(_one_of(header, names, f"{table}, header"))


def _one_of(columns: list[str] | dict, names: tuple[str, ...], where: str) -> str:
    found = next((name for name in names if name in columns), None)
    if found is None:
        raise ValueError(
            f"{where}: one column must be called {', '.join(names)}; got {', '.join(columns)}"
        )
    return found


def _inside(image: str, line: int, table: Path) -> str:
    path = PurePosixPath(image.strip())
    if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in image:
        raise ValueError(
            f"{table}, line {line}: an image must be a path below the folder, got {image!r}"
        )
    return str(path)


def _read_image(path: Path) -> bytes:
    # O_NONBLOCK: opening a pipe must not wait for a writer.
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise Reject("image missing", f"{path}: {error.strerror}") from error
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise Reject("image missing", f"{path} is not a file")
        if status.st_size > MAX_IMAGE_BYTES:
            raise Reject("image too large", f"{status.st_size} > {MAX_IMAGE_BYTES} bytes")
        return os.pread(file, status.st_size, 0)
    finally:
        os.close(file)
