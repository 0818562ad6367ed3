"""What a source of image-text pairs offers."""

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

from data_pipelines.faults import PASSING, Reject, summary
from data_pipelines.limits import Limits
from data_pipelines.sources.survey import Survey


@dataclasses.dataclass(frozen=True, slots=True)
class Sample:
    """One image with its captions.

    Attributes:
      key: name within its source.
      image: encoded image file.
      captions: at least one; the first is THE caption. Bytes are not decoded yet.
      source: where it comes from, for what is read only when it is asked for.
      index: its index there.
    """

    key: str
    image: bytes
    captions: tuple[str | bytes, ...]
    source: "Source" = dataclasses.field(compare=False, repr=False)
    index: int = dataclasses.field(compare=False)

    @property
    def meta(self) -> Mapping[str, Any]:
        """What the source knows beside the pair, read now. Raises Reject."""
        return self.source.meta(self.index)


@runtime_checkable
class Source(Protocol):
    """Pairs by index. Instances pickle, and are read from several threads at once.

    Attributes:
      name: what reports call the source.
      limits: how large the parts of its samples may be; whoever decodes them keeps to it.
      fingerprint: changes when the data change; equal for equal data.
    """

    name: str
    limits: Limits

    @property
    def fingerprint(self) -> str: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample:
        """The sample, from its parts. Raises Reject if it is unusable."""
        return Sample(
            key=self.key(index),
            image=self.image(index),
            captions=self.captions(index),
            source=self,
            index=index,
        )

    def key(self, index: int) -> str:
        """The sample's name, also of an unusable one."""
        ...

    def own_key(self, index: int) -> str:
        """The sample's name. Raises Reject where it is not known, and `key` has another."""
        return self.key(index)

    def file(self, index: int) -> str:
        """The path of the file that its image lies in: a tar, or the image itself."""
        ...

    def image(self, index: int) -> bytes:
        """The image file without the captions. Raises Reject if there is none."""
        ...

    def audio(self, index: int) -> bytes:
        """The sound file, without reading anything else. Raises Reject if there is none."""
        ...

    def captions(self, index: int) -> tuple[str | bytes, ...]:
        """The captions without reading the image. Raises Reject if there are none."""
        ...

    def meta(self, index: int) -> Mapping[str, Any]:
        """What the source knows beside the pair, without reading either. Raises Reject."""
        ...

    def survey(self) -> tuple[Survey, ...]:
        """What it holds, place by place."""
        ...


def lasting_key(source: Source, index: int) -> str:
    """The key of a sample, for what is worked out once and must be the same everywhere.

    Raises:
      ValueError: it cannot be read now.
    """
    try:
        return source.own_key(index)
    except Reject as fault:
        check_lasting(fault, source.file(index))
        return source.key(index)


def check_lasting(fault: Reject, file: str) -> None:
    """Raises ValueError where a sample, or what tells which it is, may be read another time."""
    if fault.reason in PASSING:
        raise ValueError(
            f"{file} must be read to know which samples are used, but: {fault}; put it back or "
            "try again, or index its folder anew (`vlp data index`), which makes other data"
        ) from fault


def check_read(rejects: Mapping[str, int], name: str) -> None:
    """Refuses to write down what would be other if files could be read that now cannot.

    Args:
      rejects: samples that could not be used, by reason.
      name: of what they are of.

    Raises:
      ValueError: some of them may be read another time.
    """
    passing = {reason: count for reason, count in rejects.items() if reason in PASSING}
    if passing:
        raise ValueError(
            f"all files of {name} must be read, {sum(passing.values()):,} samples lie in files "
            f"that were not: {summary(passing)}; put them back and start the same command again, "
            "or index their folder anew (`vlp data index`) if they are gone for good"
        )


def all_captions(source: Source) -> Iterator[str | bytes]:
    """Every caption of a source; samples without a usable one are passed over."""
    for index in range(len(source)):
        try:
            yield from source.captions(index)
        except Reject:
            continue


def sound_of(source: Source, index: int) -> bytes | None:
    """The sound file of a sample, None of one that has none. Raises Reject."""
    try:
        return source.audio(index)
    except Reject as fault:
        if fault.is_missing:
            return None
        raise


def joined_captions(text: bytes | None, lines: bytes | None, *, by_line: bool) -> tuple[bytes, ...]:
    """The captions of a sample: its text, then those that stand one a line; blanks do not count.

    Args:
      text: one caption, whatever its lines; None if there is none.
      lines: several, one a line; None if there are none.
      by_line: whether the text, too, holds one a line.

    Raises:
      Reject: there is neither, or nothing but blanks.
    """
    if text is None and lines is None:
        raise Reject("caption missing")
    text, lines = text or b"", lines or b""
    found = (*(text.splitlines() if by_line else [text]), *lines.splitlines())
    captions = tuple(caption for caption in found if caption.strip())
    if not captions:
        raise Reject("caption empty")
    return captions


def parse_metadata(text: str | bytes) -> dict[str, Any]:
    """A JSON object; NaN and infinity, which are not JSON but often written, become None.

    Raises:
      Reject: not JSON, not an object, or nested too deeply.
    """
    try:
        value = json.loads(text, parse_constant=lambda _: None, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise Reject("metadata invalid", str(error)) from error
    if not isinstance(value, dict):
        raise Reject("metadata invalid", f"a JSON object is needed, got {type(value).__name__}")
    return value


def _finite(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None  # 1e400


def check_index(index: int, length: int) -> int:
    """The index itself.

    Raises:
      IndexError: it is not in `[0, length)`.
    """
    if not 0 <= index < length:
        raise IndexError(f"index must be in [0, {length}), got {index}")
    return index
