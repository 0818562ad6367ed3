"""What a source of image-text pairs offers."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from data_pipelines.faults import Reject

MAX_IMAGE_BYTES = 64 * 1024 * 1024
MAX_METADATA_BYTES = 1024 * 1024


@dataclasses.dataclass(frozen=True, slots=True)
class Sample:
    """One image with its captions.

    Attributes:
      key: name within its source.
      image: encoded image file.
      captions: at least one; the first is THE caption. Bytes are not decoded yet.
      meta: what the source knows beside the pair; empty if nothing.
    """

    key: str
    image: bytes
    captions: tuple[str | bytes, ...]
    meta: Mapping[str, Any]


@runtime_checkable
class Source(Protocol):
    """Pairs by index. Instances pickle, and are read from several threads at once.

    Attributes:
      name: what reports call the source.
      fingerprint: changes when the data change; equal for equal data.
    """

    name: str

    @property
    def fingerprint(self) -> str: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample:
        """The sample. Raises Reject if it is unusable."""
        ...

    def key(self, index: int) -> str:
        """The sample's name, also of an unusable one."""
        ...

    def image(self, index: int) -> bytes:
        """The image file without the captions. Raises Reject if there is none."""
        ...

    def captions(self, index: int) -> tuple[str | bytes, ...]:
        """The captions without reading the image. Raises Reject if there are none."""
        ...

    def meta(self, index: int) -> Mapping[str, Any]:
        """What the source knows beside the pair, without reading either. Raises Reject."""
        ...


def whole_sample(source: Source, index: int) -> Sample:
    """The sample from its parts, for sources that read each on its own. Raises Reject."""
    return Sample(
        key=source.key(index),
        image=source.image(index),
        captions=source.captions(index),
        meta=source.meta(index),
    )


def split_captions(text: bytes) -> tuple[bytes, ...]:
    """One caption a line; blank lines do not count.

    Raises:
      Reject: every line is blank.
    """
    lines = tuple(line for line in text.splitlines() if line.strip())
    if not lines:
        raise Reject("caption empty")
    return lines


def parse_metadata(text: bytes) -> dict[str, Any]:
    """A JSON object.

    Raises:
      Reject: not JSON, not an object, nested too deeply, or holding NaN or infinity.
    """
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Reject("metadata invalid", str(error)) from error
    if not isinstance(value, dict):
        raise Reject("metadata invalid", f"a JSON object is needed, got {type(value).__name__}")
    return value


def check_index(index: int, length: int) -> int:
    """The index itself.

    Raises:
      IndexError: it is not in `[0, length)`.
    """
    if not 0 <= index < length:
        raise IndexError(f"index must be in [0, {length}), got {index}")
    return index


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
