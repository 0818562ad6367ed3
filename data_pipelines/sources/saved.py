"""Folders that Hugging Face's `datasets` or TFDS wrote: which they are, and what they name."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from data_pipelines.io import child, exists, open_file

STATE, SPLITS = "state.json", "dataset_dict.json"


def is_saved(folder: Path) -> bool:
    """Whether a folder is one that `Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote."""
    return (folder / STATE).is_file() or (folder / SPLITS).is_file()


def is_prepared(folder: Path) -> bool:
    """Whether a folder is one that TFDS wrote."""
    return (folder / "features.json").is_file() and (folder / "dataset_info.json").is_file()


def is_saved_there(names: Collection[str]) -> bool:
    """`is_saved` of a folder in a store, by the names of its files."""
    return STATE in names or SPLITS in names


def saved_files(folder: str | Path) -> list[str]:
    """The Arrow files of a folder that `Dataset.save_to_disk` wrote, in order: paths, or addresses.

    Raises:
      ValueError: it holds several splits, an order of its own beside the rows, or cannot be read.
    """
    if exists(child(folder, SPLITS)):
        splits = _json(child(folder, SPLITS)).get("splits", [])
        raise ValueError(
            f"{folder} holds the splits {', '.join(map(str, splits))}; name one, such as "
            f"{child(folder, str(next(iter(splits), 'train')))}"
        )
    state = _json(child(folder, STATE))
    if state.get("_indices_files") or state.get("_indices_data_files"):
        raise ValueError(
            f"{folder} has an order beside its rows, which is not read; call flatten_indices() "
            "before save_to_disk()"
        )
    names = [str(each.get("filename")) for each in state.get("_data_files", [])]
    if not names or any(Path(name).name != name for name in names):
        raise ValueError(
            f"{child(folder, STATE)} must name the Arrow files beside it, got {names[:3]}; save "
            "the data again"
        )
    return [child(folder, name) for name in names]


def _json(path: str) -> dict[str, Any]:
    file = open_file(path)
    try:
        found = json.loads(file.read(0, file.size))
    except ValueError as error:
        raise ValueError(f"{path} must be JSON ({error}); save the data again") from error
    finally:
        file.close()
    return found if isinstance(found, dict) else {}
