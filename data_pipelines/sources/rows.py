"""What sources have in common whose samples are rows of named columns: parquet, Arrow, records."""

import abc
import contextlib
import datetime
import decimal
from collections.abc import Mapping, Sequence
from typing import Any

from data_pipelines.faults import Reject
from data_pipelines.limits import Limits
from data_pipelines.sources.base import Source, check_index, parse_metadata
from data_pipelines.sources.members import AUDIO, IMAGE, MISSING, TOO_LARGE
from data_pipelines.sources.row_columns import Columns

# Beside a class's number stands its name, where the data know it: label and label_name.
_NAME = "_name"
# Its texts are to a row what KEY.json is to a sample of a tar.
JSON = "json"
# What JSON has not, and so becomes text: fields are written again by jobs.
_TOLD = (datetime.date, datetime.time, datetime.timedelta, decimal.Decimal)


class RowSource(Source):
    """Rows as samples; a column is read only where it is asked for.

    Args:
      columns: what they are.
      classes: the names of the classes that a column of numbers stands for, by the column.
      limits: how large the parts of a sample may be.
    """

    def __init__(
        self, columns: Columns, *, classes: Mapping[str, Sequence[str]], limits: Limits
    ) -> None:
        self.columns, self.classes, self.limits = columns, dict(classes), limits

    @abc.abstractmethod
    def _cell(self, index: int, column: str) -> Any:
        """A value: bytes also for text, a number, a list, a dict, or None. Raises Reject."""

    @abc.abstractmethod
    def _place(self, index: int) -> str:
        """What a row is called that has no key."""

    def key(self, index: int) -> str:
        """The row's key, or its file and number."""
        try:
            return self.own_key(index)
        except Reject:
            return self._place(index)

    def own_key(self, index: int) -> str:
        """The row's key; its file and number where no column has it. Raises Reject."""
        check_index(index, len(self))
        value = None if self.columns.key is None else self._cell(index, self.columns.key)
        return self._place(index) if value is None else str(_said(value))

    def image(self, index: int) -> bytes:
        """The image file."""
        return self._encoded(index, self.columns.image, IMAGE, self.limits.image_bytes)

    def audio(self, index: int) -> bytes:
        """The sound file."""
        return self._encoded(index, self.columns.audio, AUDIO, self.limits.audio_bytes)

    def captions(self, index: int) -> tuple[str | bytes, ...]:
        """The row's text, or its list of texts."""
        check_index(index, len(self))
        if self.columns.caption is None:
            raise Reject("caption missing")
        return texts_of(self._cell(index, self.columns.caption))

    def meta(self, index: int) -> Mapping[str, Any]:
        """The other columns, and the names of classes where they are known; of a column `json` that
        holds an object its fields, as far as no column has their name.
        """
        check_index(index, len(self))
        found = {name: _said(self._cell(index, name)) for name in self.columns.fields}
        for name, names in self.classes.items():
            number = found.get(name)
            if isinstance(number, int) and 0 <= number < len(names):
                found[name + _NAME] = names[number]
        if isinstance(text := found.get(JSON), str):
            with contextlib.suppress(Reject):  # other texts are a field as any
                found = parse_metadata(text) | {n: v for n, v in found.items() if n != JSON}
        return found

    def _encoded(self, index: int, column: str | None, role: str, limit: int) -> bytes:
        check_index(index, len(self))
        value = None if column is None else self._cell(index, column)
        if isinstance(value, dict):  # Hugging Face's: the bytes, or a path alone
            if value.get("bytes") is None and value.get("path"):
                path = _said(value["path"])
                raise Reject(MISSING[role], f"it names {path!r}; write the bytes into the column")
            value = value.get("bytes")
        if value is None:
            raise Reject(MISSING[role])
        if len(value) > limit:
            raise Reject(TOO_LARGE[role], f"{len(value)} > {limit} bytes")
        return value


def texts_of(value: Any) -> tuple[str | bytes, ...]:
    """The captions that a value holds: itself, or the texts of a list; blanks do not count.

    Raises:
      Reject: there is none, or something else than text.
    """
    if isinstance(value, dict):  # TFDS's lists of captions with more beside them
        value = value.get("text")
    if value is None:
        raise Reject("caption missing")
    found = [value] if isinstance(value, str | bytes) else value
    if not isinstance(found, list) or not all(isinstance(v, str | bytes | None) for v in found):
        raise Reject("caption missing", f"a caption is text or a list of texts, got {value!r:.80}")
    texts = tuple(text for text in found if text is not None and text.strip())
    if not texts:
        raise Reject("caption empty" if found else "caption missing")
    return texts


def _said(value: Any) -> Any:
    """A value with its texts as such, and as a text what JSON has not."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list):
        return [_said(one) for one in value]
    if isinstance(value, dict):
        return {name: _said(one) for name, one in value.items()}
    return str(value) if isinstance(value, _TOLD) else value
