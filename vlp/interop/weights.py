"""Files of weights, opened without running anything in them, read one tensor at a time."""

import json
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from data_pipelines.kinds import unfetched
from vlp.interop.pickles import PICKLES, open_pickle
from vlp.interop.tensor_files import open_npz, open_safetensors
from vlp.interop.tensors import DAMAGED, Tensors
from vlp.remote import Place

SUFFIXES = (".safetensors", ".npz", *PICKLES)
_INDEX = re.compile(r"(\.\w+)\.index(\.\w+)?\.json")
# What PyTorch puts around modules and into the names of their tensors: DataParallel and its kin,
# torch.compile, sharding, activation checkpoints.
_WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
_WHOLE = "model."  # what PyTorch Lightning puts before all names


def open_tensors(
    path: Path, *, allow_pickle_weights: bool = False, weights: str = "auto"
) -> Tensors:
    """The tensors of a file: `.safetensors`, `.npz`, a pickle, or the `.index.json` of several.

    What training put around a model is taken off their names.

    Args:
        path: the file.
        allow_pickle_weights: read `.bin`, `.pt` and the like, by `torch.load(weights_only=True)`.
        weights: which ones of a training checkpoint that holds several: "params", "ema" for their
            average, "auto" for the average where there is one, or what they are called in the file.

    Raises:
        ValueError: no such file, a damaged one, or one whose reading could run code; it holds
            several weights and does not tell which are meant.
    """
    if not path.is_file():
        raise ValueError(f"weights must be at {path}, found no file there; check the path")
    if path.suffix not in PICKLES and weights not in ("auto", "params"):
        raise ValueError(
            f"{path.name} holds one set of weights and no average, got weights={weights!r}; leave "
            "it out, or take a training checkpoint that has both"
        )
    return _unwrapped(_opened(path, allow_pickle_weights, weights))


def find_weights(folder: Path, names: Sequence[str]) -> Path:
    """The file of weights in a folder, see `choose_weights`."""
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    return folder / choose_weights(there, names, where=folder)


def choose_weights(there: Collection[str], names: Sequence[str], *, where: Any) -> str:
    """The first of the files that is there, whole or in shards; else the only variant of one.

    A variant is what transformers calls so: `model.fp16.safetensors` for `model.safetensors`.

    Args:
        there: names of files.
        names: in the order of preference.
        where: what messages call the place.

    Raises:
        ValueError: there is none of them, or several variants.
    """
    for name in names:
        for file in (name, f"{name}.index.json"):
            if file in there:
                return file
    for name in names:
        variants = sorted(filter(_variant(name).fullmatch, there))
        if len(variants) > 1:
            raise ValueError(
                f"{where} must tell which weights are meant, found {', '.join(variants)}; give "
                f"one of them in place of the folder, such as {variants[0]}"
            )
        if variants:
            return variants[0]
    others = sorted(name for name in there if name.endswith(SUFFIXES))
    raise ValueError(
        f"{where} must hold its weights as one of {', '.join(names)}, found "
        f"{', '.join(others[:5]) or 'none'}; fetch them into the folder, or give the file itself "
        "in place of the folder"
    )


def read_json_object(path: Place, *, optional: bool = False) -> dict[str, Any]:
    """A JSON file that holds an object; an empty one where it is optional and not there.

    Raises:
        ValueError: no such file, or it holds something else.
    """
    if not path.is_file():
        if optional:
            return {}
        raise ValueError(f"{path} must be there, found no such file; {DAMAGED}")
    check_fetched(path)
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path} must be JSON, got {error}; {DAMAGED}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} must be a JSON object, got {type(value).__name__}; {DAMAGED}")
    return value


def check_fetched(path: Place) -> None:
    """Raises ValueError where only a pointer to the file, or a page of an error, lies there."""
    with path.open("rb") as file:
        found = unfetched(file.read(512))
    if found:
        raise ValueError(f"{path} must be the file itself, and is {found}")


def _opened(path: Path, allow_pickle_weights: bool, weights: str) -> Tensors:
    check_fetched(path)
    if index := _INDEX.search(path.name):
        return _sharded(path, index[1], allow_pickle_weights)
    if path.suffix == ".safetensors":
        return open_safetensors(path)
    if path.suffix == ".npz":
        return open_npz(path)
    if path.suffix in PICKLES:
        return open_pickle(path, allowed=allow_pickle_weights, weights=weights)
    known = ", ".join((*SUFFIXES, ".safetensors.index.json"))
    raise ValueError(f"weights must be one of {known}, got {path.name}; convert them first")


def _sharded(path: Path, suffix: str, allow_pickle_weights: bool) -> Tensors:
    """All tensors of the files that an index names; those too that it does not name."""
    weight_map = read_json_object(path).get("weight_map")
    if not isinstance(weight_map, dict) or not all(
        isinstance(name, str) and Path(name).name == name and name.endswith(suffix)
        for name in weight_map.values()
    ):
        raise ValueError(
            f"{path} must map tensors to {suffix} files beside it under weight_map; {DAMAGED}"
        )
    for name in sorted(set(weight_map.values())):
        if not (path.parent / name).is_file():
            raise ValueError(f"{path.name} names {name}, found no such file beside it; {DAMAGED}")
    shards = {
        name: _opened(path.parent / name, allow_pickle_weights, "auto")
        for name in sorted(set(weight_map.values()))
    }
    lost = [name for name, shard in weight_map.items() if name not in shards[shard]]
    if lost:
        raise ValueError(
            f"{weight_map[lost[0]]} must hold {lost[0]}, as {path} says, and does not; {DAMAGED}"
        )
    held = {name: shard for shard, tensors in shards.items() for name in tensors} | weight_map
    shapes = {name: shards[shard].shapes[name] for name, shard in held.items()}
    return Tensors(str(path), shapes, lambda name: shards[held[name]][name])


def _unwrapped(tensors: Tensors) -> Tensors:
    """Without what training puts into the names of tensors."""

    def plain(name: str) -> str:
        return ".".join(part for part in name.split(".") if part not in _WRAPPERS)

    tensors = tensors.renamed(plain)
    if not all(name.startswith(_WHOLE) for name in tensors):
        return tensors
    return tensors.renamed(lambda name: name.removeprefix(_WHOLE))


def _variant(name: str) -> re.Pattern[str]:
    """The names of a file's variants, whole or in shards."""
    stem, suffix = (re.escape(part) for part in name.rsplit(".", 1))
    return re.compile(rf"{stem}\.(?!\w+-\d+-of)[\w-]+\.{suffix}|{stem}\.{suffix}\.index\.\w+\.json")
