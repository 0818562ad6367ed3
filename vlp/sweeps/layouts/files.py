"""Pictures in files that a table names: found in a folder, each once, in the table's order."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from data_pipelines.limits import Limits
from data_pipelines.sources.pictures import PictureSource
from data_pipelines.sources.survey import Strays, explained


class NamedPictures:
    """The pictures that a table names, in the order in which they are first named.

    Args:
        root: the folder of the set.
        folders: below it, where pictures may lie; the first that has one is taken.
        table: what names them, for messages.
    """

    def __init__(self, root: str, folders: Sequence[str], *, table: str) -> None:
        self._root, self._table = Path(root), table
        self._folders = [folder for folder in folders if (self._root / folder).is_dir()]
        self._place: dict[str, int] = {}
        self._tried = list(folders)

    def add(self, name: str) -> int:
        """The number of a picture.

        Raises:
            ValueError: it is not there, or its path leaves the folder.
        """
        path = os.path.normpath(name)
        if os.path.isabs(path) or path.startswith("..") or "\0" in path:
            raise ValueError(
                f"{self._table} must name pictures by paths below its folder, got {name!r}"
            )
        folder = self._folder(path)
        if folder is None:
            where = ", ".join(self._tried) or "."
            raise ValueError(
                f"{self._table} names {name!r}, which must lie in {self._root}, in {where}; fetch "
                "the pictures, all of them"
            )
        whole = os.path.normpath(os.path.join(folder, path))
        return self._place.setdefault(whole, len(self._place))

    def has(self, name: str) -> bool:
        """Whether a picture is there."""
        return self._folder(os.path.normpath(name)) is not None

    def source(self, name: str, *, limits: Limits) -> PictureSource:
        """All of them."""
        return PictureSource(self._root, list(self._place), name=name, limits=limits)

    def _folder(self, path: str) -> str | None:
        for folder in self._folders:
            if (self._root / folder / path).is_file():
                if folder != self._folders[0]:  # the others are there, too, most of the time
                    self._folders.remove(folder)
                    self._folders.insert(0, folder)
                return folder
        return None


def passed_over(strays: Strays, folder: Path) -> list[str]:
    """A sentence on what of a folder is not read, such as links to nothing."""
    if not strays:
        return []
    what = explained(strays.by_count())
    return [f"{len(strays):,} files in {folder.name}/ are passed over: {what}"]


def first_there(folder: str, names: Iterable[str]) -> Path | None:
    """The first of some files that is in a folder."""
    return next((Path(folder) / name for name in names if (Path(folder) / name).is_file()), None)
