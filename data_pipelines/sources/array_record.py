"""Pairs in ArrayRecord files of `tf.train.Example`, as TFDS writes them, without TensorFlow.

References:
  https://github.com/google/array_record
  https://www.tensorflow.org/tutorials/load_data/tfrecord
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from data_pipelines.faults import Reject
from data_pipelines.kinds import reader
from data_pipelines.limits import LIMITS, Limits
from data_pipelines.sources.base import check_index
from data_pipelines.sources.files import hash_file
from data_pipelines.sources.fingerprints import Fingerprint
from data_pipelines.sources.recent import Recent
from data_pipelines.sources.record_faults import fault_of
from data_pipelines.sources.row_columns import (
    AUDIO_COLUMNS,
    BYTES,
    IMAGE_COLUMNS,
    OTHER,
    TEXT,
    find_columns,
)
from data_pipelines.sources.rows import RowSource
from data_pipelines.sources.survey import Survey

_ENDING = re.compile(r"\.array_?record(?=$|-\d+-of-\d+$)", re.IGNORECASE)
_RECENT = 64  # records: a sample's parts are asked for one after the other


class ArrayRecordSource(RowSource):
    """The records of one or several files, one file after the other; the first says the columns.

    Args:
      paths: the files.
      name: what reports call the source; the files' names unless given.
      limits: how large the parts of a sample may be.

    Raises:
      ValueError: a file that is none, no records, no known columns, or records of another kind.
    """

    def __init__(self, paths: Sequence[Path], *, name: str = "", limits: Limits = LIMITS) -> None:
        from grain.sources import ArrayRecordDataSource  # here: it takes a second

        self.paths = list(paths)
        try:
            self._records = ArrayRecordDataSource([str(path) for path in paths])
            rows = [len(ArrayRecordDataSource(str(path))) for path in paths]
        except Exception as error:  # the library raises whatever its C++ part says
            raise ValueError(
                f"{', '.join(map(str, paths))[:200]} must be ArrayRecord files ({error}); write "
                "them again"
            ) from error
        self._ends = np.cumsum(rows)
        first, last = _short(self.paths[0]), _short(self.paths[-1])
        self.name = name or (first if len(self.paths) == 1 else f"{first}..{last}")
        if not len(self):
            raise ValueError(f"{self.name} must have at least one record, it has none")
        self._recent: Recent[Mapping[str, Any]] = Recent(_RECENT)
        kinds = {column: _kind(column, value) for column, value in self._first().items()}
        super().__init__(find_columns(kinds, where=str(self.paths[0])), classes={}, limits=limits)

    def __len__(self) -> int:
        return int(self._ends[-1])

    @cached_property
    def fingerprint(self) -> str:
        """Of every file, taken once; see `fingerprints`."""
        found = Fingerprint(hashlib.sha256(b"records"))
        for path in self.paths:
            hash_file(found, path, path.name, text=False)
        return found.hexdigest() + self.limits.mark

    def file(self, index: int) -> str:
        """The path of the record's file."""
        check_index(index, len(self))
        return str(self.paths[int(np.searchsorted(self._ends, index, side="right"))])

    def survey(self) -> tuple[Survey, ...]:
        """How many records; what each holds is not known before it is read."""
        return (Survey(self.name, len(self)),)

    def _first(self) -> Mapping[str, Any]:
        try:
            return self._record(0)
        except Reject as fault:
            raise ValueError(
                f"records must be tf.train.Example, as TFDS writes them, {self.paths[0]} holds "
                f"others ({fault.detail}); convert them, or write tars"
            ) from fault

    def _record(self, index: int) -> Mapping[str, Any]:
        return self._recent.get(index, lambda: self._read(check_index(index, len(self))))

    def _read(self, index: int) -> Mapping[str, Any]:
        try:
            data = self._records[index]
        except Exception as error:  # as above
            raise fault_of(error, f"record {index}") from error
        return parse_example(data)

    def _cell(self, index: int, column: str) -> Any:
        return self._record(index).get(column)

    def _place(self, index: int) -> str:
        file = int(np.searchsorted(self._ends, index, side="right"))
        return f"{_short(self.paths[file])}:{index - (int(self._ends[file - 1]) if file else 0)}"


def _short(path: Path) -> str:
    return _ENDING.sub("", path.name)


def parse_example(data: bytes) -> dict[str, Any]:
    """The values of a `tf.train.Example` by name; one alone stands for itself, none is None.

    Raises:
      Reject: these bytes are none.
    """
    # Imported here: it takes half a second, and few read such records.
    from google.protobuf.message import DecodeError
    from tensorflow_datasets.proto import tf_example_pb2

    try:
        features = tf_example_pb2.Example.FromString(data).features.feature
    except DecodeError as error:
        raise Reject("shard damaged", f"no tf.train.Example: {error}") from error
    if not features:
        raise Reject("shard damaged", f"a tf.train.Example without fields, or none: {data[:16]!r}")
    return {name: _values(feature) for name, feature in sorted(features.items())}


def _values(feature: Any) -> Any:
    kind = feature.WhichOneof("kind")
    values = list(getattr(feature, kind).value) if kind else []
    return values[0] if len(values) == 1 else values or None


def _kind(column: str, value: Any) -> str:
    """What a column holds: bytes are text unless its name or its content says otherwise."""
    first = value[0] if isinstance(value, list) and value else value
    if not isinstance(first, bytes):
        return OTHER
    if column.lower() in (*IMAGE_COLUMNS, *AUDIO_COLUMNS):
        return BYTES
    try:
        reader(first)
    except Reject:
        return TEXT
    return BYTES
