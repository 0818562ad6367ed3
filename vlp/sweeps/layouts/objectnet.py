"""ObjectNet as it is unpacked: the classes that ImageNet has as well, by its own mapping.

    images/FOLDER/any.png           also in objectnet-1.0/
    mappings/folder_to_objectnet_label.json, mappings/objectnet_to_imagenet_1k.json

References:
    https://objectnet.dev; clip_benchmark.datasets.objectnet: 113 classes in the order of their
    folders, called by their small-letter labels. The red border of a pixel or two stays.
"""

from pathlib import Path

import numpy as np

from data_pipelines.io import is_address
from data_pipelines.limits import Limits
from data_pipelines.sources.files import walk
from data_pipelines.sources.members import IMAGE, role_of
from data_pipelines.sources.pictures import PictureSource
from data_pipelines.sources.survey import Strays
from vlp.evals.text_files import read_json
from vlp.sweeps.entry import Entry
from vlp.sweeps.layouts.files import first_there, passed_over
from vlp.sweeps.sets import EvalSet

_LABELS, _IMAGENET = "folder_to_objectnet_label.json", "objectnet_to_imagenet_1k.json"
_IMAGES = ("objectnet-1.0/images", "images")
_BELOW = ("", "mappings/", "objectnet-1.0/mappings/")


def is_here(folder: str, entry: Entry) -> bool:
    """Whether a folder has ObjectNet's mapping."""
    return not is_address(folder) and _mapping(folder, _IMAGENET) is not None


def open_set(entry: Entry, folder: str, *, limits: Limits) -> EvalSet:
    """The pictures of the classes that are ImageNet's, too.

    Args:
        entry: the line of the suite.
        folder: where the archive was unpacked.
        limits: how large samples may be.

    Raises:
        ValueError: a mapping is missing, or there are no pictures of these classes.
    """
    labels, imagenet = (_object(folder, name) for name in (_LABELS, _IMAGENET))
    names = {own: label for own, label in sorted(labels.items()) if label in imagenet}
    root = Path(folder)
    images = next((root / p for p in _IMAGES if (root / p).is_dir()), root)
    strays = Strays()
    files = walk(images, strays)
    place = {own: i for i, own in enumerate(names)}
    pictures = [file for file in files if role_of(file.rpartition(".")[2]) == IMAGE]
    kept = [file for file in pictures if file.partition("/")[0] in place]
    if not kept:
        raise ValueError(f"{images} must hold a folder of pictures for {', '.join([*names][:3])}")
    source = PictureSource(images, kept, name=entry.name, limits=limits)
    numbers = [place[source.key(i).partition("/")[0]] for i in range(len(source))]
    left = len({file.partition("/")[0] for file in pictures} - names.keys())
    notes = passed_over(strays, images)
    notes += [f"{left} folders of classes that ImageNet has not are left out"] if left else []
    classes = [name.lower() for name in names.values()]
    own = np.asarray(numbers, np.int64)
    return EvalSet(entry.name, source, labels=own, class_names=classes, notes=notes)


def _mapping(folder: str, name: str) -> Path | None:
    return first_there(folder, [below + name for below in _BELOW])


def _object(folder: str, name: str) -> dict[str, str]:
    path = _mapping(folder, name)
    found = read_json(path) if path else None
    if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
        raise ValueError(f"{folder} must hold mappings/{name} of ObjectNet's archive")
    return found
