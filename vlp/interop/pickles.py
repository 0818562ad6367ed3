"""Checkpoints of PyTorch: pickles and TorchScript archives, of which tensors alone are read.

`torch.load(weights_only=True)` makes tensors and plain containers and nothing else. A TorchScript
archive is read by it too: it gets the archive's pickle without the code that lies beside it, and a
class without methods for the modules named there. `torch.jit.load`, which may run that code, is not
called.
"""

import contextlib
import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vlp.interop.containers import choose
from vlp.interop.tensors import Tensors

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_SAFE = (2, 6)  # earlier ones could be made to run code all the same: CVE-2025-32434
_MODULES = "__torch__."  # before the names of a TorchScript archive's own classes
# What of such an archive holds its tensors.
_KEPT = re.compile(r"[^/]+/(data\.pkl|data/.*|(\.data/)?version|byteorder)")
_TYPES = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "uint8", "bool")


def open_pickle(path: Path, *, allowed: bool, weights: str) -> Tensors:
    """The tensors of a checkpoint of PyTorch.

    Args:
        path: the file.
        allowed: whether pickles may be read at all.
        weights: see `vlp.interop.weights.open_tensors`.

    Raises:
        ValueError: not allowed, no PyTorch or an unsafe one, or the file holds something else.
    """
    if not allowed:
        raise ValueError(
            f"weights must not be a pickle, for reading one can run code, got {path.name}; "
            "convert it to safetensors, or, with torch installed, read its tensors alone by "
            "--allow-pickle-weights (allow_pickle_weights=True)"
        )
    torch = safe_torch(path.name)
    try:
        with _readable(path, torch) as file:
            loaded = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a foreign file leads the unpickler to
        forbidden = re.search(r"GLOBAL (\S+)", str(error))
        reason = f"it names {forbidden[1]}" if forbidden else str(error).partition("\n")[0]
        raise ValueError(
            f"{path} must hold tensors and nothing else, but {reason}; save its state dict alone, "
            "or copy the file again if it is damaged"
        ) from error
    if isinstance(loaded, _Module):
        loaded = dict(_state(loaded, ""))
    found, name, left = choose(loaded, torch.Tensor, weights=weights, source=str(path))

    for key, tensor in found.items():
        kind = str(tensor.dtype).removeprefix("torch.")
        if kind not in _TYPES or tensor.layout != torch.strided:
            raise ValueError(
                f"tensors must be dense and of {', '.join(_TYPES)}, {key} in {path} is "
                f"{tensor.layout} of {kind}; take the model before it was quantised, or save it "
                "again in one of these types"
            )

    def get(key: str) -> Any:
        tensor = found[key].detach()
        return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()

    shapes = {key: tuple(tensor.shape) for key, tensor in found.items()}
    return Tensors(str(path), shapes, get, weights=name, left_out=left)


def safe_torch(name: str) -> Any:
    """PyTorch, in a version that reads pickles without running them.

    Args:
        name: what messages call the file to read.

    Raises:
        ValueError: it is not there, or too old.
    """
    try:
        import torch
    except ImportError as error:
        raise ValueError(
            f"{name} is a pickle, which only torch.load(weights_only=True) may read; "
            "pip install torch, or convert it to safetensors where torch is"
        ) from error
    version = re.match(r"(\d+)\.(\d+)", str(torch.__version__))
    if version is None or tuple(map(int, version.groups())) < _SAFE:
        raise ValueError(
            f"pickles must be read with torch {'.'.join(map(str, _SAFE))} or later, got "
            f"{torch.__version__}, in which torch.load(weights_only=True) can be made to run code "
            '(CVE-2025-32434); pip install "torch>=2.6", or convert the file to safetensors'
        )
    return torch


@contextlib.contextmanager
def _readable(path: Path, torch: Any) -> Iterator[Any]:
    """What `torch.load` is to read: the file itself, or what of a TorchScript archive is data."""
    if not zipfile.is_zipfile(path):
        yield path
        return
    with zipfile.ZipFile(path) as archive:
        if not any(name.endswith("/constants.pkl") for name in archive.namelist()):
            yield path
            return
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w") as copy:
            for name in filter(_KEPT.fullmatch, archive.namelist()):
                copy.writestr(name, archive.read(name))
    data.seek(0)
    named = torch.serialization.get_unsafe_globals_in_checkpoint(data)
    data.seek(0)
    classes = [(_Module, name) for name in named if name.startswith(_MODULES)]
    with torch.serialization.safe_globals(classes):
        yield data


class _Module:
    """A module in a TorchScript archive: what its pickle sets, and nothing that could run."""


def _state(module: _Module, prefix: str) -> Iterator[tuple[str, Any]]:
    """The tensors of a TorchScript module, as in its state dict."""
    for name, value in vars(module).items():
        if isinstance(value, _Module):
            yield from _state(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
