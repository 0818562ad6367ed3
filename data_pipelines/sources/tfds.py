"""Pairs of a data set that TensorFlow Datasets prepared as ArrayRecord; TensorFlow is not needed.

References:
  https://www.tensorflow.org/datasets/data_source
"""

import hashlib
import os
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from data_pipelines.io import is_address
from data_pipelines.limits import LIMITS, Limits
from data_pipelines.sources.base import check_index
from data_pipelines.sources.files import hash_file
from data_pipelines.sources.fingerprints import Fingerprint
from data_pipelines.sources.recent import Recent
from data_pipelines.sources.record_faults import fault_of
from data_pipelines.sources.row_columns import BYTES, OTHER, TEXT, find_columns
from data_pipelines.sources.rows import RowSource
from data_pipelines.sources.saved import is_prepared
from data_pipelines.sources.survey import Survey

_SPEC = re.compile(r"(?P<data>[^\[\]]+)(\[(?P<split>.+)\])?")
_RECENT = 64  # examples: a sample's parts are asked for one after the other
_FEATURES = tfds.features


class TfdsSource(RowSource):
    """The examples of a split, their pictures as they were encoded.

    Args:
      spec: a folder that holds features.json, or NAME/CONFIG:VERSION below `$TFDS_DATA_DIR`, or
        else `~/tensorflow_datasets`; config and version may be left out. Behind it, in brackets,
        the split as TFDS writes it: [train], [train[:90%]], [train+test].
      limits: how large the parts of a sample may be.

    Raises:
      ValueError: no such data or split, data in another format, or no known columns.
    """

    def __init__(self, spec: str, *, limits: Limits = LIMITS) -> None:
        found = _SPEC.fullmatch(spec)
        if found is None:
            raise ValueError(f"tfds:NAME/CONFIG:VERSION[SPLIT] is the form, got {spec!r}")
        self.folder = _folder(found["data"])
        self._split = found["split"] or _only_split(self._builder, spec)
        self.name = f"{self._builder.info.full_name}[{self._split}]"
        features = self._features
        kinds = {column: _kind(feature) for column, feature in features.items()}
        classes = {
            name: feature.names
            for name, feature in features.items()
            if isinstance(feature, _FEATURES.ClassLabel) and feature.names
        }
        super().__init__(find_columns(kinds, where=self.name), classes=classes, limits=limits)
        self._recent: Recent[Mapping[str, Any]] = Recent(_RECENT)
        self._rows = len(self._examples)

    @cached_property
    def _builder(self) -> Any:
        return tfds.builder_from_directory(self.folder)

    @property
    def _features(self) -> dict[str, Any]:
        return dict(self._builder.info.features)

    @cached_property
    def _examples(self) -> Any:
        pictures = {
            name: tfds.decode.SkipDecoding()
            for name, feature in self._features.items()
            if isinstance(feature, _FEATURES.Image)
        }
        try:
            return self._builder.as_data_source(self._split, decoders=pictures)
        except NotImplementedError as error:
            raise ValueError(
                f"TFDS reads single examples of ArrayRecord files only, {self.folder} holds "
                "others; prepare it with file_format='array_record', or tfds convert_format"
            ) from error
        except (KeyError, ValueError) as error:
            raise ValueError(
                f"{self.folder} has the splits {', '.join(self._builder.info.splits)}, got "
                f"{self._split!r}: {error}"
            ) from error

    @cached_property
    def fingerprint(self) -> str:
        """Of every file of the data set and of the split, taken once; see `fingerprints`."""
        found = Fingerprint(hashlib.sha256(self._split.encode()))
        for path in sorted(path for path in self.folder.iterdir() if path.is_file()):
            hash_file(found, path, path.name, text=path.suffix in (".json", ".txt"))
        return found.hexdigest() + self.limits.mark

    def __len__(self) -> int:
        return self._rows

    def file(self, index: int) -> str:
        """The folder of the data set."""
        check_index(index, len(self))
        return str(self.folder)

    def survey(self) -> tuple[Survey, ...]:
        """How many examples; what each holds is not known before it is read."""
        return (Survey(self.name, len(self)),)

    def _cell(self, index: int, column: str) -> Any:
        return self._recent.get(index, lambda: self._example(index))[column]

    def _example(self, index: int) -> Mapping[str, Any]:
        try:
            return _plain(self._examples[check_index(index, len(self))])
        except IndexError:
            raise
        except Exception as error:  # ArrayRecord's and the features' own
            raise fault_of(error, f"example {index}") from error

    def _place(self, index: int) -> str:
        return f"{self.name}:{index}"

    def __getstate__(self) -> dict[str, Any]:
        # Other processes open the files themselves.
        return {k: v for k, v in self.__dict__.items() if k not in ("_builder", "_examples")}


def _folder(data: str) -> Path:
    """The folder of a data set: itself, or that of its highest version."""
    if is_prepared(Path(data)):
        return Path(data)
    home = os.environ.get("TFDS_DATA_DIR") or Path.home() / "tensorflow_datasets"
    if is_address(home):
        raise ValueError(
            f"what TFDS prepared is read from a disk, TFDS_DATA_DIR is {home}; copy the folder to "
            "this machine and name it there"
        )
    name, _, version = data.partition(":")
    root = Path(home) / name
    there = [path.parent for path in root.rglob("features.json")] if root.is_dir() else []
    fitting = [path for path in there if not version or path.name == version]
    if not fitting:
        known = ", ".join(str(path.relative_to(home)) for path in there) or "nothing of that name"
        raise ValueError(
            f"tfds:{data} must be prepared, {home} holds {known}; prepare it with tfds build "
            "--file_format=array_record, or set TFDS_DATA_DIR"
        )
    configs = {path.parent for path in fitting}
    if len(configs) > 1:
        names = ", ".join(sorted(str(path.relative_to(home)) for path in configs))
        raise ValueError(f"tfds:{data} has several configs ({names}); name one")
    return max(fitting, key=lambda path: [int(part) for part in re.findall(r"\d+", path.name)])


def _only_split(builder: Any, spec: str) -> str:
    splits = list(builder.info.splits)
    if len(splits) != 1:
        raise ValueError(
            f"{spec} has the splits {', '.join(splits) or 'none'}; name one: "
            f"tfds:{spec}[{splits[0] if splits else 'train'}]"
        )
    return splits[0]


def _kind(feature: Any) -> str:
    if isinstance(feature, _FEATURES.Image):
        return BYTES
    if isinstance(feature, _FEATURES.Sequence):
        inner = feature.feature
        if isinstance(inner, _FEATURES.FeaturesDict):
            return TEXT if "text" in inner and _kind(inner["text"]) == TEXT else OTHER
        return TEXT if _kind(inner) == TEXT else OTHER
    return TEXT if isinstance(feature, _FEATURES.Text) else OTHER


def _plain(value: Any) -> Any:
    """A value of TFDS as bytes, numbers, lists and dicts."""
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return value
