"""Image-text pairs in a folder with a table that names pictures and gives captions.

The table is one of `table.NAMES`. Each row names an image by a path below the folder; several rows
for one image are several captions, the first is THE caption; the other columns are its metadata,
where a list holds what its rows say differently. Links inside the folder are followed: they are its
owner's own. A row whose image does not exist stays a sample and is rejected when it is read.
"""

import hashlib
import os
import unicodedata
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from data_pipelines.faults import Reject, shown
from data_pipelines.limits import LIMITS, Limits
from data_pipelines.sources.base import Source, check_index
from data_pipelines.sources.files import hash_file, read_file, walk
from data_pipelines.sources.fingerprints import Fingerprint
from data_pipelines.sources.members import IMAGE, role_of
from data_pipelines.sources.survey import Strays, Survey
from data_pipelines.sources.table import NAMES, Row, read_table

_NONE: Mapping[str, Any] = {}  # one for all rows
_EMPTY: tuple[Any, ...] = (None, "", [])


class FolderSource(Source):
    """A folder of images with a table of captions.

    Args:
      folder: where they lie. Columns: the image is called one of image, file, filename, file_name,
        filepath, path; the caption one of caption, captions, text, title.
      table: its file, where it has another name; else one of `table.NAMES` in the folder.
      name: what reports call the source; the folder's name unless given.
      limits: how large the parts of a sample may be.

    Raises:
      ValueError: no table or several, no known column, an unreadable row, a path that leaves the
        folder, no rows, or none whose image exists.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        table: str | Path | None = None,
        name: str = "",
        limits: Limits = LIMITS,
    ) -> None:
        self.folder = Path(folder)
        self.name = name or self.folder.resolve().name
        self.limits = limits
        self._table = _only_table(self.folder) if table is None else Path(table)
        captions: dict[str, list[str] | None] = {}
        fields: dict[str, Mapping[str, Any]] = {}
        for row in read_table(self._table):
            image = self._inside(row)
            captions.setdefault(image, None)
            fields[image] = _joined(fields.get(image, _NONE), row.fields)
            if row.captions is not None:
                captions[image] = [*(captions[image] or ()), *row.captions]
        if not captions:
            raise ValueError(f"{self._table} must have at least one row, it has none")
        self._images, self._captions = list(captions), list(captions.values())
        self._fields = list(fields.values())
        if not any(map(self._exists, self._images)):
            example = self._guess(self._images[0], walk(self.folder, Strays()))
            raise ValueError(
                f"{self._table} must name pictures by their paths below {self.folder}, but none of "
                f"{len(captions)} is there, such as {example}"
            )

    @cached_property
    def fingerprint(self) -> str:
        """Of the table and of every image, taken once; see `fingerprints`."""
        with self._table.open("rb") as file:
            found = Fingerprint(hashlib.file_digest(file, "sha256"))
        for image in self._images:
            hash_file(found, self.folder / image, image, text=False)
        return found.hexdigest() + self.limits.mark

    def __len__(self) -> int:
        return len(self._images)

    def key(self, index: int) -> str:
        """The image's path below the folder."""
        return self._images[check_index(index, len(self))]

    def file(self, index: int) -> str:
        """The image's path."""
        return str(self.folder / self.key(index))

    def image(self, index: int) -> bytes:
        """The image file."""
        return read_file(self.folder / self.key(index), IMAGE, limit=self.limits.image_bytes)

    def audio(self, index: int) -> bytes:
        """Raises Reject: a table names pictures."""
        raise Reject("audio missing", f"{self._table.name} names pictures, not sounds")

    def captions(self, index: int) -> tuple[str, ...]:
        """The captions of the rows that name this image."""
        rows = self._captions[check_index(index, len(self))]
        if rows is None:
            raise Reject("caption missing")
        texts = tuple(text for text in rows if text.strip())
        if not texts:
            raise Reject("caption empty")
        return texts

    def meta(self, index: int) -> Mapping[str, Any]:
        """The other columns of the rows that name this image."""
        return self._fields[check_index(index, len(self))]

    def survey(self) -> tuple[Survey, ...]:
        """Rows without a picture or a caption, and pictures that no row names."""
        there = walk(self.folder, Strays())
        known = set(there)
        missing = [image for image in self._images if image not in known]
        missing = [image for image in missing if not self._exists(image)]
        silent = [
            image
            for image, texts in zip(self._images, self._captions, strict=True)
            if not any(text.strip() for text in texts or ())
        ]
        strays = Strays()
        for name in known.difference(self._images):
            if role_of(name.rpartition(".")[2]) == IMAGE:
                strays.add(f"no row of {self._table.name} names it", name)
        found = Survey(
            self.name,
            len(self),
            without_image=len(missing),
            without_caption=len(silent),
            strays=strays.by_count(),
            image_example=self._guess(missing[0], there) if missing else "",
            caption_example=shown(silent[0]) if silent else "",
        )
        return (found,)

    def _exists(self, image: str) -> bool:
        return (self.folder / image).is_file()

    def _inside(self, row: Row) -> str:
        """The path of a row's image below the folder."""
        if "://" in row.image:
            raise ValueError(
                f"{self._table}, line {row.line}: an image must be a path below the folder, URLs "
                f"are not fetched, got {row.image!r}; download what it names"
            )
        # Tables from Windows have its separators.
        path = PurePosixPath(row.image.strip().replace("\\", "/"))
        for root in (self.folder.absolute(), self.folder.resolve()) if path.is_absolute() else ():
            if path.is_relative_to(root):
                path = path.relative_to(root)
        if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in row.image:
            raise ValueError(
                f"{self._table}, line {row.line}: an image must be a path below the folder, got "
                f"{row.image!r}"
            )
        return self._spelled(str(path))

    def _spelled(self, image: str) -> str:
        """A path as the file system spells it: macOS writes letters and their accents apart."""
        if image.isascii() or self._exists(image):
            return image
        forms = (unicodedata.normalize(form, image) for form in ("NFC", "NFD"))
        return next(filter(self._exists, forms), image)

    def _guess(self, image: str, there: list[str]) -> str:
        """The name of a missing image, and of the file that may be meant."""
        wanted = PurePosixPath(image.lower())
        names = {name: PurePosixPath(name.lower()) for name in there}
        pictures = [name for name, path in names.items() if role_of(path.suffix[1:]) == IMAGE]
        same = [name for name in pictures if names[name].name == wanted.name]
        near = same or [name for name in pictures if names[name].stem == wanted.stem]
        return shown(image) + (f" (the folder has {shown(near[0])})" if near else "")


def _joined(fields: Mapping[str, Any], more: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields of several rows: of a field that they say differently a list, without repeats."""
    if not fields or not more:
        return fields or more or _NONE
    return {
        name: _either(fields.get(name), more.get(name)) for name in dict.fromkeys([*fields, *more])
    }


def _either(one: Any, other: Any) -> Any:
    if other in _EMPTY or one == other:
        return one
    if one in _EMPTY:
        return other
    known = one if isinstance(one, list) else [one]
    more = other if isinstance(other, list) else [other]
    return [*known, *(value for value in more if value not in known)]


def _only_table(folder: Path) -> Path:
    found = tables(folder)
    if len(found) != 1:
        raise ValueError(
            f"a folder of images needs one of {', '.join(NAMES)}; {folder} has "
            + (f"{' and '.join(found)}; name one: {folder}/{found[0]}" if found else "none")
        )
    return folder / found[0]


def tables(folder: Path) -> list[str]:
    """The names of a folder's tables."""
    return sorted(name for name in os.listdir(folder) if name.lower() in NAMES)
