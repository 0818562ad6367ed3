"""Rows in groups of Arrow columns: what parquet and Arrow files have in common."""

import abc
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from data_pipelines.faults import Reject
from data_pipelines.io import FileChanged, name_of
from data_pipelines.limits import Limits
from data_pipelines.sources.base import check_index, check_lasting
from data_pipelines.sources.files import hash_file
from data_pipelines.sources.fingerprints import Fingerprint
from data_pipelines.sources.row_columns import BYTES, OTHER, TEXT, Columns
from data_pipelines.sources.rows import RowSource

CACHE_BYTES = 256 * 2**20  # of groups that were read last, in each process


class GroupSource(RowSource):
    """Rows of files that hold them in groups, one group after the other.

    Args:
      paths: the files, in order: paths of this machine, or addresses of a store.
      groups: of each group the number of its file and its rows.
      schema: of the first file, kept.
      columns: what its columns are.
      name: what reports call the source.
      limits: how large the parts of a sample may be.

    Raises:
      ValueError: there are no rows.
    """

    def __init__(
        self,
        paths: Sequence[str],
        groups: Sequence[tuple[int, int]],
        *,
        schema: pa.Schema,
        columns: Columns,
        name: str,
        limits: Limits,
    ) -> None:
        super().__init__(columns, classes=_classes(schema), limits=limits)
        self.paths, self.name, self.schema = list(paths), name or _name(paths), schema
        files_rows = np.array(groups, np.int64).reshape(-1, 2)
        self._files, self._ends = files_rows[:, 0].copy(), np.cumsum(files_rows[:, 1])
        if not len(self._ends) or not self._ends[-1]:
            raise ValueError(f"{self.name} must have at least one row, it has none")
        first = np.searchsorted(self._files, np.arange(len(self.paths)))
        self._first = np.concatenate([[0], self._ends])[first]  # row of each file

    @abc.abstractmethod
    def _column(self, group: int, name: str) -> Any:
        """A column of a group, an array of Arrow. Raises Reject."""

    @cached_property
    def fingerprint(self) -> str:
        """Of every file, taken once; see `fingerprints`."""
        found = Fingerprint(hashlib.sha256(b"rows"))
        for path in self.paths:
            self._add(found, path)
        return found.hexdigest() + self.limits.mark

    def _add(self, found: Fingerprint, path: str) -> None:
        """Adds a file to the fingerprint."""
        hash_file(found, Path(path), name_of(path), text=False)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def column(self, name: str) -> Iterator[tuple[int, Any]]:
        """The rows of every group in order, and a column of it; None where it is damaged.

        Raises:
          ValueError: it cannot be read now.
        """
        for group, rows in enumerate(np.diff(self._ends, prepend=0).tolist()):
            try:
                yield rows, self._column(group, name)
            except Reject as fault:
                check_lasting(fault, self.paths[self._files[group]])
                yield rows, None

    def file(self, index: int) -> str:
        """The path of the row's file."""
        return self.paths[self._files[self._group(index)]]

    def _group(self, index: int) -> int:
        check_index(index, len(self))
        return int(np.searchsorted(self._ends, index, side="right"))

    def _cell(self, index: int, column: str) -> Any:
        group = self._group(index)
        row = index - (int(self._ends[group - 1]) if group else 0)
        return value_of(self._column(group, column)[row])

    def _place(self, index: int) -> str:
        file = int(self._files[self._group(index)])
        return f"{stem(self.paths[file])}:{index - int(self._first[file])}"


def stem(path: str) -> str:
    """The name of a file without its folder and its ending."""
    return os.path.splitext(name_of(path))[0]


def reason_of(error: Exception) -> str:
    """Why a group could not be read, as a reject says it."""
    if isinstance(error, FileChanged):
        return "shard changed"
    if isinstance(error, FileNotFoundError):
        return "shard gone"
    # Arrow's own complaints about what it reads are OSErrors as well, without kind and number.
    bare = type(error) is OSError and error.errno is None
    return "shard damaged" if bare or isinstance(error, pa.ArrowException) else "read failed"


def kinds_of(schema: pa.Schema) -> dict[str, str]:
    """What the columns of a schema hold, by name."""
    return {field.name: _kind(field.type) for field in schema}


def _kind(type_: pa.DataType) -> str:
    if pa.types.is_dictionary(type_):
        return _kind(type_.value_type)
    if _is_binary(type_):
        return BYTES
    if pa.types.is_struct(type_):  # Hugging Face's pictures and sounds
        fields = {type_.field(place).name: type_.field(place).type for place in range(len(type_))}
        return BYTES if "bytes" in fields and _is_binary(fields["bytes"]) else OTHER
    if pa.types.is_list(type_) or pa.types.is_large_list(type_):
        return TEXT if _is_text(type_.value_type) else OTHER
    return TEXT if _is_text(type_) else OTHER


def _is_binary(type_: pa.DataType) -> bool:
    return (
        pa.types.is_binary(type_)
        or pa.types.is_large_binary(type_)
        or pa.types.is_binary_view(type_)
    )


def _is_text(type_: pa.DataType) -> bool:
    return (
        pa.types.is_string(type_)
        or pa.types.is_large_string(type_)
        or pa.types.is_string_view(type_)
    )


def value_of(scalar: pa.Scalar) -> Any:
    """A scalar as Python has it; texts stay bytes, for they need not be UTF-8."""
    if isinstance(scalar, pa.DictionaryScalar):
        scalar = scalar.value
    if not scalar.is_valid:
        return None
    if _is_binary(scalar.type) or _is_text(scalar.type):
        return scalar.as_buffer().to_pybytes()
    if isinstance(scalar, pa.StructScalar):
        return {name: value_of(scalar[name]) for name in scalar}
    if isinstance(scalar, pa.ListScalar | pa.LargeListScalar):
        return [value_of(one) for one in scalar.values]
    return scalar.as_py()


def _classes(schema: pa.Schema) -> dict[str, Sequence[str]]:
    """The names of classes that Hugging Face's libraries write into a schema, by column."""
    try:
        said = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = said.get("info", {}).get("features", {})
        names = {name: each.get("names") for name, each in features.items()}
    except (ValueError, AttributeError):
        return {}
    return {name: each for name, each in names.items() if _is_names(each)}


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _name(paths: Sequence[str]) -> str:
    first, last = stem(paths[0]), stem(paths[-1])
    return first if len(paths) == 1 else f"{first}..{last}"
