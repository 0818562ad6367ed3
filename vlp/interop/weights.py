"""Files of tensors, opened without running anything in them, read one tensor at a time."""

import json
import math
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_DAMAGED = "copy it again from where it came"
# RuntimeError: encrypted, or compressed in a way or by a version that Python does not know.
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError)
_DTYPES: dict[str, Any] = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "I64": np.int64,
    "I32": np.int32,
    "U8": np.uint8,
    "BOOL": np.bool_,
}


class Tensors(Mapping[str, np.ndarray]):
    """Tensors by name; shapes are known from headers, values are read when asked for.

    Attributes:
        source: what messages call the file.
        shapes: of all tensors.
    """

    def __init__(
        self,
        source: str,
        shapes: Mapping[str, Sequence[int]],
        get: Callable[[str], np.ndarray],
    ) -> None:
        self.source = source
        self.shapes = {name: tuple(shape) for name, shape in shapes.items()}
        self._get = get

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.shapes:
            raise KeyError(name)
        return self._get(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)

    def __contains__(self, name: object) -> bool:
        return name in self.shapes

    def renamed(self, rename: Callable[[str], str | None]) -> "Tensors":
        """The same tensors under other names; those renamed to None are left out."""
        actual = {new: name for name in self if (new := rename(name)) is not None}
        shapes = {new: self.shapes[name] for new, name in actual.items()}
        return Tensors(self.source, shapes, lambda new: self[actual[new]])


def open_tensors(path: Path, *, allow_pickle_weights: bool = False) -> Tensors:
    """The tensors of a `.safetensors` file, of its `.index.json`, of an `.npz` or of a pickle.

    Args:
        path: the file.
        allow_pickle_weights: read `.bin`, `.pt` and the like, by `torch.load(weights_only=True)`.

    Raises:
        ValueError: no such file, a damaged one, or one whose reading could run code.
    """
    if not path.is_file():
        raise ValueError(f"weights must be at {path}, found no file there; check the path")
    if path.name.endswith(".index.json"):
        return _sharded(path)
    if path.suffix == ".safetensors":
        return _safetensors(path)
    if path.suffix == ".npz":
        return _npz(path)
    if path.suffix in PICKLES:
        return _pickle(path, allow_pickle_weights)
    known = ", ".join((".safetensors", ".safetensors.index.json", ".npz", *PICKLES))
    raise ValueError(f"weights must be one of {known}, got {path.name}; convert them first")


def find_weights(folder: Path, names: Sequence[str]) -> Path:
    """The first of the files that a folder holds.

    Raises:
        ValueError: it holds none of them.
    """
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise ValueError(
        f"{folder} must hold its weights as one of {', '.join(names)}, found none; "
        "fetch them into the folder"
    )


def _safetensors(path: Path) -> Tensors:
    try:
        # The library checks the header: sizes, overlaps, the end of the file.
        with safe_open(path, framework="numpy") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}
            shapes = {name: part.get_shape() for name, part in slices.items()}
            dtypes = {name: part.get_dtype() for name, part in slices.items()}
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{path} must be a whole safetensors file, but {error}; {_DAMAGED}"
        ) from error
    start, offsets = _offsets(path)

    def get(name: str) -> np.ndarray:
        if dtypes[name] not in _DTYPES:
            raise ValueError(
                f"tensors must be {', '.join(_DTYPES)}, {name} in {path} is {dtypes[name]}; "
                "convert it to a wider type first"
            )
        # Read, not mapped: a mapped file would count as memory a second time.
        flat = np.fromfile(
            path,
            _DTYPES[dtypes[name]],
            count=math.prod(shapes[name]),
            offset=start + offsets[name],
        )
        return flat.reshape(shapes[name])

    return Tensors(str(path), shapes, get)


def _offsets(path: Path) -> tuple[int, dict[str, int]]:
    """Where the data of a checked safetensors file begin, and each tensor behind that."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    return 8 + length, {name: entry["data_offsets"][0] for name, entry in header.items()}


def _sharded(path: Path) -> Tensors:
    weight_map = read_json_object(path).get("weight_map")
    if not isinstance(weight_map, dict) or not all(map(_plain_name, weight_map.values())):
        raise ValueError(f"{path} must map tensors to files beside it under weight_map; {_DAMAGED}")
    shards = {name: open_tensors(path.parent / name) for name in sorted(set(weight_map.values()))}
    lost = [name for name, shard in weight_map.items() if name not in shards[shard]]
    if lost:
        raise ValueError(
            f"{weight_map[lost[0]]} must hold {lost[0]}, as {path} says, and does not; {_DAMAGED}"
        )
    shapes = {name: shards[shard].shapes[name] for name, shard in weight_map.items()}
    return Tensors(str(path), shapes, lambda name: shards[weight_map[name]][name])


def _plain_name(name: Any) -> bool:
    """Whether this is the name of a safetensors file in the same folder."""
    return isinstance(name, str) and Path(name).name == name and name.endswith(".safetensors")


def _npz(path: Path) -> Tensors:
    """The arrays of an npz; only numbers, for everything else needs a pickle."""
    try:
        archive = zipfile.ZipFile(path)
        shapes = {
            member.removesuffix(".npy"): _npy_shape(archive, member, path)
            for member in archive.namelist()
        }
        arrays = np.load(path, allow_pickle=False)
    except (*_ZIP_ERRORS, KeyError) as error:
        raise ValueError(f"{path} must be a whole npz file, but {error}; {_DAMAGED}") from error

    def get(name: str) -> np.ndarray:
        try:
            return arrays[name]
        except (*_ZIP_ERRORS, ValueError) as error:
            raise ValueError(f"{name} in {path} cannot be read: {error}; {_DAMAGED}") from error

    return Tensors(str(path), shapes, get)


def _npy_shape(archive: zipfile.ZipFile, member: str, path: Path) -> tuple[int, ...]:
    with archive.open(member) as file:
        try:
            version = np.lib.format.read_magic(file)
            read = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            shape, _, dtype = read(file)
        except ValueError as error:
            raise ValueError(f"{member} in {path} is no array: {error}; {_DAMAGED}") from error
    if dtype.hasobject:
        raise ValueError(
            f"arrays must hold numbers, {member} in {path} holds Python objects, whose reading "
            "could run code; save it again as numbers"
        )
    return shape


def _pickle(path: Path, allowed: bool) -> Tensors:
    if not allowed:
        raise ValueError(
            f"weights must not be a pickle, for reading one can run code, got {path.name}; "
            "convert it to safetensors, or, with torch installed, read its tensors alone by "
            "--allow-pickle-weights (allow_pickle_weights=True)"
        )
    try:
        import torch
    except ImportError as error:
        raise ValueError(
            f"{path.name} is a pickle, which only torch.load(weights_only=True) may read; "
            "pip install torch, or convert it to safetensors where torch is"
        ) from error
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a foreign file leads the unpickler to
        raise ValueError(f"{path} must hold tensors and nothing else, but {error}") from error
    found = _tensors_in(loaded, torch.Tensor)
    return Tensors(
        str(path),
        {name: tuple(tensor.shape) for name, tensor in found.items()},
        lambda name: found[name].detach().float().numpy(),
    )


def _tensors_in(loaded: Any, kind: type) -> dict[str, Any]:
    """The state dict of a checkpoint, which training scripts keep under one of these names."""
    for key in ("state_dict", "model"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict) or not any(isinstance(x, kind) for x in loaded.values()):
        raise ValueError("a torch checkpoint must be a state dict of tensors; save one")
    return {
        str(name).removeprefix("module."): tensor
        for name, tensor in loaded.items()
        if isinstance(tensor, kind)
    }


def read_json_object(path: Path) -> dict[str, Any]:
    """A JSON file that holds an object.

    Raises:
        ValueError: no such file, or it holds something else.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path} must be a JSON file, but {error}; {_DAMAGED}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} must hold a JSON object, got {type(value).__name__}; {_DAMAGED}")
    return value
