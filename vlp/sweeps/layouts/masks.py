"""Pictures with a mask each, as conversions of ADE20K, Pascal VOC and COCO-Stuff lie.

    images/NAME.jpg            or another picture; NAME may have folders
    masks/NAME.png             grey of 8 bits, or with a palette: the class of each pixel,
                               255 where it does not count
    classnames.txt             class 0 in the first line, and so on

ADE20K's own masks have 0 where nothing is labelled, and the classes from 1: subtract 1, so that 0
becomes 255.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from data_pipelines.decode import reasons
from data_pipelines.faults import Reject
from data_pipelines.io import is_address
from data_pipelines.kinds import reader
from data_pipelines.limits import Limits
from data_pipelines.quiet import quietly
from data_pipelines.sources.files import hash_file, walk
from data_pipelines.sources.fingerprints import Fingerprint
from data_pipelines.sources.members import IMAGE, role_of
from data_pipelines.sources.pictures import PictureSource
from data_pipelines.sources.survey import Strays
from vlp.sweeps.classes import class_set
from vlp.sweeps.entry import Entry
from vlp.sweeps.layouts.files import passed_over
from vlp.sweeps.masks import Masks, Size, mask_size
from vlp.sweeps.sets import EvalSet

SEGMENTATION = "segmentation"
_IMAGES, _MASKS, _NAMES = "images", "masks", "classnames.txt"
_FIRST = 2**10  # bytes that say what a file is
_RIFF = b"RIFF"  # of WebP, whose header says how long the file must be


def is_here(folder: str, entry: Entry) -> bool:
    """Whether a folder has pictures and masks, or one of them where masks are asked for."""
    if is_address(folder) or entry.tasks and SEGMENTATION not in entry.tasks:
        return False
    there = [(Path(folder) / name).is_dir() for name in (_IMAGES, _MASKS)]
    return any(there) if entry.tasks else all(there)


def open_set(entry: Entry, folder: str, *, limits: Limits) -> EvalSet:
    """The pictures with their masks.

    Args:
        entry: the line of the suite.
        folder: that holds the two folders.
        limits: how large samples may be.

    Raises:
        ValueError: a picture has no mask or a mask no picture, they are not of one size, a mask is
            none, or nothing says how classes are called.
    """
    root, notes = Path(folder), list[str]()
    pictures, masks = (_by_name(root / name, notes) for name in (_IMAGES, _MASKS))
    _check_pairs(root, pictures, masks)
    source = PictureSource(root / _IMAGES, list(pictures.values()), name=entry.name, limits=limits)
    found = Fingerprint(hashlib.sha256(b"masks"))
    for name, file in masks.items():
        _check_size(root / _IMAGES / pictures[name], root / _MASKS / file)
        hash_file(found, root / _MASKS / file, file, text=False)
    names = class_set(_names(entry, root)).names if not entry.classes else ()
    files = [masks[name] for name in pictures]
    return EvalSet(
        entry.name,
        source,
        class_names=names,
        masks=Masks(root / _MASKS, files, found.hexdigest() + limits.mark, limits),
        notes=notes,
    )


def _by_name(folder: Path, notes: list[str]) -> Mapping[str, str]:
    """The pictures in a folder, by their paths without endings."""
    if not folder.is_dir():
        raise ValueError(f"{folder} must be a folder beside the other one, it is not there")
    found: dict[str, str] = {}
    strays = Strays()
    files = walk(folder, strays)
    said = passed_over(strays, folder)
    notes += said
    others = [file for file in files if role_of(file.rpartition(".")[2]) != IMAGE]
    for file in sorted({*files} - {*others}):
        name = file.rpartition(".")[0]
        if name in found:
            raise ValueError(
                f"{folder} must have one picture of each name, it has {found[name]} and {file}; "
                "remove one"
            )
        found[name] = file
    if not found:
        has = "; ".join([f"{len(others):,} other files", *said])
        raise ValueError(f"{folder} must hold pictures, it has {has}")
    if others:
        notes.append(f"{len(others):,} files in {folder.name}/ are no pictures: {others[0]}")
    return found


def _check_pairs(root: Path, pictures: Mapping[str, str], masks: Mapping[str, str]) -> None:
    for files, others, what in (
        (pictures, masks, f"picture a mask, {root / _MASKS}/NAME.png"),
        (masks, pictures, f"mask a picture, {root / _IMAGES}/NAME.jpg"),
    ):
        alone = sorted(files.keys() - others.keys())
        if alone:
            raise ValueError(
                f"each {what}: {len(alone):,} of {len(files):,} have none, such as "
                f"{files[alone[0]]!r}; add what is missing, or remove these"
            )


def _check_size(picture: Path, mask: Path) -> None:
    with mask.open("rb") as file:
        size = mask_size(mask, file.read(_FIRST))
    own = _size(picture)
    if own is not None and own != size:
        raise ValueError(
            f"a mask must be as large as its picture, {mask} has {size.width} x {size.height} "
            f"pixels and {picture} {own.width} x {own.height}; write it in that size"
        )


def _size(picture: Path) -> Size | None:
    """The size of a picture as it is stored; None of one that cannot be read, which is counted
    where pictures are embedded."""
    try:
        with picture.open("rb") as file, reasons(), quietly():
            data = file.read(_FIRST)
            opener = reader(data + file.read() if data.startswith(_RIFF) else data)
            file.seek(0)
            width, height = opener(file).size  # type: ignore[arg-type]
            return Size(height, width)
    except (Reject, OSError):
        return None


def _names(entry: Entry, root: Path) -> str:
    if (root / _NAMES).is_file():
        return str(root / _NAMES)
    if entry.default_classes:
        return entry.default_classes
    raise ValueError(
        f"{root / _NAMES} must name the classes, that of pixels of value 0 in the first line, it "
        "is not there; write it, or give `classes` in the suite"
    )
