"""Captions in a file beside folders of pictures: COCO, Flickr, XTD and Crossmodal-3600.

    dataset_coco.json, dataset_flickr30k.json, dataset_flickr8k.json     Karpathy's splits
    coco_SPLIT_karpathy.json                          of CLIP_benchmark, in the format of COCO
    flickr30k_SPLIT_karpathy.txt                      NAME.jpg,caption, behind a line of titles
    xtd10-LANGUAGE.json, crossmodal3600_captions-LANGUAGE.json
                                                      image_paths and annotations
    captions.jsonl                                    Crossmodal-3600's own

References:
    https://cs.stanford.edu/people/karpathy/deepimagesent/
    https://github.com/mehdidc/retrieval_annotations
    https://google.github.io/crossmodal-3600/
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from data_pipelines.io import is_address
from data_pipelines.limits import Limits
from vlp.evals.text_files import read_json
from vlp.sweeps.entry import Entry
from vlp.sweeps.layouts.files import NamedPictures, first_there
from vlp.sweeps.sets import EvalSet
from vlp.sweeps.texts import read_text

Pair = tuple[str, list[str]]
"""A picture's name with its captions."""
FOLDERS = (
    ".", "images", "val2014", "train2014", "val2017", "flickr30k-images", "flickr30k_images",
    "Flicker8k_Dataset", "Images", "xtd10/images", "xm3600/images",
)  # fmt: skip
_KARPATHY = ("dataset_coco.json", "dataset_flickr30k.json", "dataset_flickr8k.json", "dataset.json")
# Files of other programs, and vlp's own, have these names, too.
_MARKS = {"captions.jsonl": b'"image/key"', "dataset.json": b'"sentences"'}
_ODD = ("restval", "train")  # what Karpathy's training split is made of


def is_here(folder: str, entry: Entry) -> bool:
    """Whether a folder has one of these files."""
    return not is_address(folder) and _table(folder, entry) is not None


def open_set(entry: Entry, folder: str, *, limits: Limits) -> EvalSet:
    """The pictures of the split with their captions.

    Args:
        entry: the line of the suite.
        folder: where the file lies, with the pictures in it or in a folder of a usual name.
        limits: how large samples may be.

    Raises:
        ValueError: the file is damaged, a picture is not there, or the split has none.
    """
    table = _table(folder, entry)
    if table is None:
        raise ValueError(f"{folder} must hold a file of captions, such as {_KARPATHY[0]}")
    pictures = NamedPictures(folder, FOLDERS, table=table.name)
    texts: list[str] = []
    of: list[int] = []
    try:
        for name, captions in _reader(table)(table, entry):
            place = pictures.add(name)
            kept = captions[: entry.most_captions]
            texts += kept
            of += [place] * len(kept)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(
            f"{table} must have the fields of its format, {type(error).__name__}: {error}; fetch "
            "it again"
        ) from error
    if not texts:
        raise ValueError(f"{table} must have captions of the split {entry.split!r}, it has none")
    source = pictures.source(entry.name, limits=limits)
    return EvalSet(entry.name, source, texts=texts, picture_of_text=np.asarray(of, np.int64))


def _table(folder: str, entry: Entry) -> Path | None:
    names = [
        *_KARPATHY,
        f"coco_{entry.split}_karpathy.json",
        f"flickr30k_{entry.split}_karpathy.txt",
        f"flickr8k_{entry.split}_karpathy.txt",
        f"xtd10-{entry.language}.json",
        f"multilingual_mscoco_captions-{entry.language}.json",
        f"crossmodal3600_captions-{entry.language}.json",
        "captions.jsonl",
        "xm3600/captions.jsonl",
    ]
    if entry.language != "en":  # the others are English
        names = names[len(_KARPATHY) + 3 :]
    found = first_there(folder, names)
    mark = None if found is None else _MARKS.get(found.name)
    return found if found is None or mark is None or _holds(found, mark) else None


def _holds(table: Path, mark: bytes) -> bool:
    with table.open("rb") as file:
        return mark in file.read(2**20)


def _reader(table: Path) -> Callable[[Path, Entry], Iterator[Pair]]:
    if table.name in _KARPATHY:
        return _karpathy
    if table.suffix == ".jsonl":
        return _crossmodal
    if table.suffix == ".txt":
        return _flickr
    return _coco if table.name.startswith("coco_") else _listed


def _karpathy(table: Path, entry: Entry) -> Iterator[Pair]:
    wanted = _ODD if entry.split == "train" else (entry.split,)
    for image in _json(table, "images"):
        if image["split"] in wanted:
            name = "/".join(filter(None, (image.get("filepath", ""), image["filename"])))
            yield name, [str(sentence["raw"]) for sentence in image["sentences"]]


def _coco(table: Path, entry: Entry) -> Iterator[Pair]:
    captions: dict[Any, list[str]] = {}
    for each in _json(table, "annotations"):
        captions.setdefault(each["image_id"], []).append(str(each["caption"]))
    for image in sorted(_json(table, "images"), key=lambda image: image["id"]):
        yield image["file_name"], captions.get(image["id"], [])


def _flickr(table: Path, entry: Entry) -> Iterator[Pair]:
    found: dict[str, list[str]] = {}
    for number, line in enumerate(read_text(str(table)).split("\n")[1:], start=2):
        if line.strip():
            name, mark, caption = line.strip().partition(".jpg,")
            if not mark:
                raise ValueError(
                    f"{table}, line {number}: NAME.jpg,caption is needed, got {line!r:.80}"
                )
            found.setdefault(f"{name}.jpg", []).append(caption)
    yield from found.items()


def _listed(table: Path, entry: Entry) -> Iterator[Pair]:
    found: dict[str, list[str]] = {}
    paths, texts = _json(table, "image_paths"), _json(table, "annotations")
    if len(paths) != len(texts):
        raise ValueError(
            f"{table} must have a text for each of {len(paths)} paths, got {len(texts)}"
        )
    for path, text in zip(paths, texts, strict=True):  # paths are of the machine it was made on
        found.setdefault(Path(path).name, []).extend([text] if isinstance(text, str) else text)
    yield from found.items()


def _crossmodal(table: Path, entry: Entry) -> Iterator[Pair]:
    for number, line in enumerate(read_text(str(table)).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{table}, line {number} must be JSON: {error}") from error
        if entry.language not in row:
            known = ", ".join(sorted(key for key in row if "/" not in key))
            raise ValueError(f"{table} has captions in {known}, got language {entry.language!r}")
        yield f"{row['image/key']}.jpg", [str(text) for text in row[entry.language]["caption"]]


def _json(table: Path, key: str) -> list[Any]:
    found = read_json(table)
    value = found.get(key) if isinstance(found, dict) else None
    if not isinstance(value, list):
        raise ValueError(f"{table} must be an object with a list {key!r}; fetch it again")
    return value
