"""Files that hold arrays and cannot hold anything else: safetensors and npz."""

import json
import math
import zipfile
import zlib
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open

from vlp.interop.tensors import DAMAGED, Tensors

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


def open_safetensors(path: Path) -> Tensors:
    """The tensors of a safetensors file.

    Raises:
        ValueError: a damaged file, or a tensor of a type that is none of the usual ones.
    """
    try:
        # The library checks the header: sizes, overlaps, the end of the file.
        with safe_open(path, framework="numpy") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}
            shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
            dtypes = {name: part.get_dtype() for name, part in slices.items()}
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{path} must be a whole safetensors file, but {error}; {DAMAGED}"
        ) from error
    other = [name for name, dtype in dtypes.items() if dtype not in _DTYPES]
    if other:
        raise ValueError(
            f"tensors must be {', '.join(_DTYPES)}, {other[0]} in {path} is {dtypes[other[0]]}; "
            "take the model before it was quantised, or save it again in one of these types"
        )
    start, offsets = _offsets(path)

    def get(name: str) -> np.ndarray:
        # Read, not mapped: a mapped file would count as memory a second time.
        flat = np.fromfile(
            path,
            _DTYPES[dtypes[name]],
            count=math.prod(shapes[name]),
            offset=start + offsets[name],
        )
        return flat.reshape(shapes[name])

    return Tensors(str(path), shapes, get)


def open_npz(path: Path) -> Tensors:
    """The arrays of an npz; only numbers, for everything else needs a pickle.

    Raises:
        ValueError: a damaged file, or one that holds Python objects.
    """
    try:
        archive = zipfile.ZipFile(path)
        shapes = {
            member.removesuffix(".npy"): _npy_shape(archive, member, path)
            for member in archive.namelist()
        }
        arrays = np.load(path, allow_pickle=False)
    except (*_ZIP_ERRORS, KeyError) as error:
        raise ValueError(f"{path} must be a whole npz file, but {error}; {DAMAGED}") from error

    def get(name: str) -> np.ndarray:
        try:
            return arrays[name]
        except (*_ZIP_ERRORS, ValueError) as error:
            raise ValueError(f"{name} in {path} cannot be read: {error}; {DAMAGED}") from error

    return Tensors(str(path), shapes, get)


def _offsets(path: Path) -> tuple[int, dict[str, int]]:
    """Where the data of a checked safetensors file begin, and each tensor behind that."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    return 8 + length, {name: entry["data_offsets"][0] for name, entry in header.items()}


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
            raise ValueError(f"{member} in {path} is no array: {error}; {DAMAGED}") from error
    if dtype.hasobject:
        raise ValueError(
            f"arrays must hold numbers, {member} in {path} holds Python objects, whose reading "
            "could run code; save it again as numbers"
        )
    return shape
