"""Pictures in a folder a class, as torchvision's ImageFolder reads them, also by WordNet's ids.

    CLASS/any.jpg, or SPLIT/CLASS/any.jpg     with val or validation for the split "test"

A class is a folder. Its number is the folder's name where that is a number (ImageNet-V2), the place
of its id where the entry's classes have ids (ImageNet and its parts), and else its place among the
folders in the order of the alphabet.
"""

from pathlib import Path

import numpy as np

from data_pipelines.io import is_address
from data_pipelines.limits import Limits
from data_pipelines.opening import open_source
from data_pipelines.sources.files import walk
from data_pipelines.sources.members import IMAGE, LINES, TEXT, role_of
from data_pipelines.sources.pictures import PictureSource
from data_pipelines.sources.survey import Strays
from vlp.sweeps.classes import ClassSet, class_set, place_labels
from vlp.sweeps.entry import Entry
from vlp.sweeps.layouts.data import CAPTIONED, OWN_LAYOUTS, USUAL
from vlp.sweeps.sets import EvalSet

_SAME = {"test": ("test", "val", "validation"), "train": ("train", "training")}


def is_here(folder: str, entry: Entry) -> bool:
    """Whether there are two folders with pictures and no captions, and labels are asked for."""
    others = (
        entry.label not in ("", *USUAL)
        or entry.tasks
        and not set(entry.tasks) - {*CAPTIONED, *OWN_LAYOUTS}
    )
    if is_address(folder) or others or not Path(folder).is_dir():
        return False
    return _has_classes(_inside(folder, entry.split))


def open_set(entry: Entry, folder: str, *, limits: Limits) -> EvalSet:
    """The pictures, labelled by their folders.

    Args:
        entry: the line of the suite.
        folder: that holds the folders of classes, or those of splits.
        limits: how large samples may be.

    Raises:
        ValueError: a folder is none of the classes, or there are no folders of classes.
    """
    inside = _inside(folder, entry.split)
    source = open_source(inside, limits=limits)
    if not isinstance(source, PictureSource):
        raise ValueError(f"{inside} must hold a folder of pictures for each class")
    source.name = entry.name
    folders = [source.key(index).partition("/") for index in range(len(source))]
    outside = sum(not slash for _, slash, _ in folders)
    labels = [name if slash else None for name, slash, _ in folders]
    occurring = sorted({label for label in labels if label is not None})
    if not occurring:
        raise ValueError(f"{inside} must hold a folder of pictures for each class, it has none")
    given = entry.classes or entry.default_classes
    if given:
        classes = class_set(given)
    elif all(label.isdecimal() for label in occurring):
        raise ValueError(
            f"{inside} has folders that are numbers, which say nothing of a picture; give their "
            "names as `classes` in the suite"
        )
    else:
        classes = ClassSet([name.replace("_", " ") for name in occurring])
        classes = ClassSet(classes.names, ids={name: i for i, name in enumerate(occurring)})
    place = place_labels(occurring, classes, where=entry.name)
    own = np.asarray([-1 if label is None else place[label] for label in labels], np.int64)
    notes = [f"{outside:,} pictures lie in no folder of a class"] if outside else []
    return EvalSet(entry.name, source, labels=own, class_names=classes.names, notes=notes)


def _inside(folder: str, split: str) -> Path:
    """The folder of the split, where there is one."""
    names = _SAME.get(split, (split,))
    there = [Path(folder) / name for name in names if (Path(folder) / name).is_dir()]
    return next((path for path in there if _has_classes(path)), Path(folder))


def _has_classes(folder: Path) -> bool:
    """Whether two folders in it hold pictures; looks at no more than it must."""
    below = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    plain = [p for p in folder.iterdir() if p.is_file() and not p.name.startswith(".")]
    if any(role_of(p.suffix[1:]) != IMAGE and _is_data(p) for p in plain) or len(below) < 2:
        return False
    return all(_are_pictures(path) for path in below[:2])


def _is_data(path: Path) -> bool:
    """Whether a file says that the folder is something else."""
    return path.suffix.lower() in (".tar", ".parquet", ".arrow", ".csv", ".tsv", ".jsonl")


def _are_pictures(folder: Path) -> bool:
    roles = {role_of(name.rpartition(".")[2]) for name in walk(folder, Strays())}
    return IMAGE in roles and not roles & {TEXT, LINES}
