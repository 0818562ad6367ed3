"""Pictures, or sounds, as people have them: files, with captions beside them or without any.

NAME.jpg (or another picture), and beside it what a tar would hold: NAME.txt (one caption),
NAME.captions (one a line), NAME.json and NAME.cls. Here NAME ends at the last dot. A picture in a
folder of the folder has the name of the first below it as its class (`cls`), as in torchvision's
ImageFolder. A sound (NAME.ogg) may lie beside a picture; where there is no picture at all, the
sounds are the samples.
"""

import hashlib
import logging
import os
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from data_pipelines.faults import shown
from data_pipelines.limits import LIMITS, Limits
from data_pipelines.sources.base import check_index
from data_pipelines.sources.by_member import ByMember
from data_pipelines.sources.files import hash_file, read_file
from data_pipelines.sources.fingerprints import Fingerprint
from data_pipelines.sources.members import (
    AUDIO,
    CLASS,
    ENCODED,
    IMAGE,
    LINES,
    TEXT,
    role_of,
    stray_reason,
)
from data_pipelines.sources.survey import Strays, Survey, explained
from data_pipelines.sources.table import NAMES, SUFFIXES

_LOG = logging.getLogger(__name__)
SPLITS = {"train", "training", "val", "valid", "validation", "dev", "test", "testing"}


class PictureSource(ByMember):
    """Pictures in files, or sounds where there are no pictures.

    Args:
      root: the folder in which they lie, at any depth.
      files: paths below it: of the pictures or sounds in their order, and of what may lie beside
        them.
      name: what reports call the source; the folder's name unless given.
      by_line: whether NAME.txt, too, holds a caption a line.
      limits: how large the parts of a sample may be.
      strays: what was passed over where the files were looked for.

    Raises:
      ValueError: there is neither, or two files of one kind beside one.
    """

    def __init__(
        self,
        root: str | Path,
        files: Iterable[str],
        *,
        name: str = "",
        by_line: bool = False,
        limits: Limits = LIMITS,
        strays: Strays | None = None,
    ) -> None:
        super().__init__(by_line=by_line, limits=limits)
        self.root = Path(root)
        self.name = name or self.root.resolve().name
        strays = strays or Strays()
        by_role: dict[str, list[str]] = {}
        for file in files:
            role = _role(file)
            if role is None:
                strays.add(_why(os.path.basename(file)), file)
            else:
                by_role.setdefault(role, []).append(file)
        self._role = IMAGE if IMAGE in by_role else AUDIO
        self._pictures = by_role.pop(self._role, [])
        self._beside = _beside(by_role, {_stem(file) for file in self._pictures}, strays)
        self._strays = strays.by_count()
        if not self._pictures:
            raise ValueError(
                f"{self.root} must hold pictures, sounds, tars or one of {', '.join(NAMES)}; "
                "it has " + (explained(self._strays) or "no file")
            )
        _say_splits(self._pictures, self.root)

    @cached_property
    def fingerprint(self) -> str:
        """Of every picture and of all beside it, taken once; see `fingerprints`."""
        found = Fingerprint(hashlib.sha256(b"lines:" * self.by_line))
        for picture in self._pictures:
            hash_file(found, self.root / picture, picture, text=False)
            for file in self._beside.get(_stem(picture), {}).values():
                hash_file(found, self.root / file, file, text=_role(file) not in ENCODED)
        return found.hexdigest() + self.limits.mark

    def __len__(self) -> int:
        return len(self._pictures)

    def key(self, index: int) -> str:
        """The picture's path below the folder."""
        return self._pictures[check_index(index, len(self))]

    def file(self, index: int) -> str:
        """The picture's path."""
        return str(self.root / self.key(index))

    def survey(self) -> tuple[Survey, ...]:
        """Pictures without a caption, and files that are no pictures."""
        silent = [
            picture
            for picture in self._pictures
            if not {TEXT, LINES} & self._beside.get(_stem(picture), {}).keys()
        ]
        found = Survey(
            self.name,
            len(self),
            without_image=0 if self._role == IMAGE else len(self),
            without_caption=len(silent),
            without_audio=self._without_audio(),
            strays=self._strays,
            caption_example=shown(silent[0]) if silent else "",
        )
        return (found,)

    def _without_audio(self) -> int | None:
        """How many samples have no sound; None where none has one."""
        if self._role == AUDIO:
            return 0
        sounds = sum(AUDIO in beside for beside in self._beside.values())
        return len(self) - sounds if sounds else None

    def _member(self, index: int, role: str) -> bytes | None:
        picture = self.key(index)
        beside = {self._role: picture} | self._beside.get(_stem(picture), {})
        if role not in beside:
            return None
        return read_file(self.root / beside[role], role, limit=self._largest[role])

    def _usual_class(self, index: int) -> dict[str, Any]:
        folder, slash, _ = self.key(index).partition("/")
        return {CLASS: folder} if slash else {}


def with_beside(paths: Sequence[Path]) -> tuple[Path, list[str]]:
    """The folder that files have in common, and below it their names and those of what belongs
    to them."""
    given = [os.path.abspath(path) for path in paths]
    folders = {os.path.dirname(path) for path in given}
    stems = {_stem(path) for path in given}
    near = (os.path.join(folder, name) for folder in folders for name in os.listdir(folder))
    beside = {path for path in near if _stem(path) in stems and _role(path) not in (None, IMAGE)}
    root = os.path.commonpath(folders)
    files = [path for path in given if path not in beside] + sorted(beside)
    return Path(root), [os.path.relpath(path, root) for path in files]


def _beside(
    by_role: dict[str, list[str]], stems: set[str], strays: Strays
) -> dict[str, dict[str, str]]:
    """The files beside each picture, by the picture's stem and their own role."""
    found: dict[str, dict[str, str]] = {}
    for role, files in by_role.items():
        for file in files:
            stem = _stem(file)
            if stem not in stems:
                strays.add(_lonely(os.path.basename(file)), file)
            elif role in found.setdefault(stem, {}):
                raise ValueError(
                    f"a picture has one file of each kind beside it, but there are both "
                    f"{found[stem][role]!r} and {file!r}; remove one"
                )
            else:
                found[stem][role] = file
    return found


def _stem(file: str) -> str:
    return os.path.splitext(file)[0]


def _role(file: str) -> str | None:
    return role_of(os.path.splitext(file)[1].removeprefix("."))


def _why(base: str) -> str:
    if base.lower().endswith(SUFFIXES):
        return f"a table lies in the folder itself as one of {', '.join(NAMES)}; or give its path"
    return stray_reason(base)


def _lonely(base: str) -> str:
    if f"{base.lower()}l" in NAMES:
        return "a table in JSON is a .jsonl, an object a line"
    return "no picture of this name"


def _say_splits(pictures: Sequence[str], root: Path) -> None:
    """Says where folders of splits would be taken for classes."""
    first = {picture.partition("/")[0] for picture in pictures}
    deep = all(picture.count("/") > 1 for picture in pictures)
    if deep and {name.lower() for name in first} <= SPLITS:
        names = ", ".join(sorted(first))
        _LOG.warning(
            "%s holds splits (%s), which become the classes (cls) of its pictures; give one split, "
            "such as %s/%s, whose folders are classes",
            root,
            names,
            root,
            min(first),
        )


class OnePicture(ByMember):
    """One picture's bytes, without captions.

    Args:
      data: an encoded image.
      name: its key, and what reports call the source.
      limits: how large it may be.
    """

    def __init__(self, data: bytes, *, name: str, limits: Limits = LIMITS) -> None:
        super().__init__(by_line=False, limits=limits)
        self._data, self.name = data, name

    @property
    def fingerprint(self) -> str:
        """Hash of the bytes."""
        return hashlib.sha256(self._data).hexdigest() + self.limits.mark

    def __len__(self) -> int:
        return 1

    def key(self, index: int) -> str:
        """The name of the picture."""
        check_index(index, 1)
        return self.name

    def file(self, index: int) -> str:
        """The name of the picture: it came without a path."""
        return self.key(index)

    def survey(self) -> tuple[Survey, ...]:
        """One picture without a caption."""
        one = Survey(self.name, 1, without_image=0, without_caption=1, caption_example=self.name)
        return (one,)

    def _member(self, index: int, role: str) -> bytes | None:
        check_index(index, 1)
        if role != IMAGE:
            return None
        self._check_size(role, len(self._data))
        return self._data
