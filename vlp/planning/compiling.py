"""What a compiler says of a step: its program, or why it refuses it; asked once and kept."""

import dataclasses
import gzip
import hashlib
import importlib.metadata
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from vlp.files import write_bytes
from vlp.planning.topology import Topology

# Without a GPU at hand the compiler cannot try which tiles of Triton are fastest.
OPTIONS: Mapping[str, Mapping[str, Any]] = {"cuda": {"xla_gpu_enable_triton_gemm": False}}
# What libtpu says of a program that does not fit: of all it needs, or of its temporaries.
_USED = re.compile(r"Used ([\d.]+)([GMK]) of [\d.]+[GMK] hbm")
_TEMPORARIES = re.compile(r"HLO temporaries \(([\d.]+)([GMK])\)")
_UNITS = {"G": 2**30, "M": 2**20, "K": 2**10}
# Of these the answer depends, beside the program itself.
_PACKAGES = (
    "jax", "jaxlib", "libtpu", "jax-cuda12-plugin", "jax-cuda12-pjrt", "jax-cuda13-plugin",
    "jax-cuda13-pjrt", "nvidia-cuda-nvcc-cu12", "nvidia-cuda-nvcc",
)  # fmt: skip
_FLAGS = ("XLA_FLAGS", "LIBTPU_INIT_ARGS")
_ABOVE = ("planning", "jobs", "run", "cli")  # packages in which nothing of a step is written


@dataclasses.dataclass(frozen=True)
class Answer:
    """The compiler's.

    Attributes:
        text: of the compiled program; empty where it is refused for its size.
        arguments: bytes of what a device is given, state and batch; 0 where it is refused, as all
            that follows.
        results: bytes of what it gives back, but for what takes the place of an argument.
        temporary: bytes that it needs beside these.
        peak: the most bytes in use at once; 0 where the compiler does not say.
        refusal: the compiler's words; empty where it is not.
        kept: whether it is that of an earlier time.
    """

    text: str
    arguments: int = 0
    results: int = 0
    temporary: int = 0
    peak: int = 0
    refusal: str = ""
    kept: bool = False

    def temporary_beside(self, given: int) -> int:
        """Bytes of the temporaries, of a refused program too, which says its total or these."""
        if not self.refusal:
            return self.temporary
        if found := _TEMPORARIES.search(self.refusal):
            return _size(found)
        found = _USED.search(self.refusal)
        return max(0, _size(found) - given) if found else 0


def ask(lowered: Any, topology: Topology, *, mesh: Any, cache: Path | None) -> Answer:
    """The answer to a lowered step, from the cache where it was asked before.

    Args:
        lowered: a `jax.stages.Lowered` for the devices of `mesh`.
        topology: whose devices these are.
        mesh: they are numbered by.
        cache: folder of earlier answers; None asks anew and keeps nothing.

    Raises:
        jax.errors.JaxRuntimeError: when the compiler fails for another reason than memory.
    """
    options = dict(OPTIONS.get(topology.chip.kind, {}))
    file = cache and cache / f"{_key(lowered, topology, mesh, options)}.json.gz"
    if file and (known := _read(file)):
        return known
    answer = _compiled(lowered, options)
    if file:
        said = dataclasses.asdict(answer) | {"kept": True}
        write_bytes(file, gzip.compress(json.dumps(said).encode(), mtime=0))
    return answer


def _compiled(lowered: Any, options: dict[str, Any]) -> Answer:
    try:
        compiled = lowered.compile(compiler_options=options or None)
    except jax.errors.JaxRuntimeError as error:
        if _TEMPORARIES.search(str(error)) or _USED.search(str(error)):
            return Answer("", refusal=str(error))
        raise
    return answer_of(compiled)


def answer_of(compiled: Any) -> Answer:
    """What a `jax.stages.Compiled` says of itself."""
    memory = compiled.memory_analysis()
    return Answer(
        compiled.as_text(),
        arguments=memory.argument_size_in_bytes,
        results=memory.output_size_in_bytes - memory.alias_size_in_bytes,
        temporary=memory.temp_size_in_bytes,
        peak=memory.peak_memory_in_bytes,
    )


def _read(file: Path) -> Answer | None:
    """A kept answer; None where there is none, or no whole one."""
    try:
        return Answer(**json.loads(gzip.decompress(file.read_bytes())))
    except (OSError, EOFError, ValueError, TypeError):
        return None


def _key(lowered: Any, topology: Topology, mesh: Any, options: Mapping[str, Any]) -> str:
    """A hash of all that an answer depends on.

    The program counts without the places it was written at, which differ by who plans it; yet a
    plan names such places, so all sources below this package count as they are.
    """
    places = [
        (each.id, each.process_index, getattr(each, "slice_index", 0)) for each in mesh.devices.flat
    ]
    parts = {
        "kept": [field.name for field in dataclasses.fields(Answer)],
        "program": lowered.as_text(),
        "topology": topology.name,
        "target": dict(topology.chip.target),
        "devices": places,
        "options": dict(options),
        "flags": {name: os.environ.get(name, "") for name in _FLAGS},
        "versions": {name: _version(name) for name in _PACKAGES},
        "sources": _sources(),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _sources() -> str:
    root = Path(__file__).parents[1]
    found = hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        place = file.relative_to(root)
        if place.parts[0] not in _ABOVE:
            found.update(f"{place}\n".encode() + file.read_bytes())
    return found.hexdigest()


def _size(found: re.Match[str]) -> int:
    return round(float(found[1]) * _UNITS[found[2]])
