"""What in Arrow files is looked at before it is believed: names, columns and whole schemas."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from data_pipelines.faults import Reject, shown

CUT = "cut off or damaged: the rows behind that are lost; save it again"
_BYTES = {
    pa.string(): pa.binary(),
    pa.large_string(): pa.large_binary(),
    pa.string_view(): pa.binary_view(),
}


def good_column(batch: pa.RecordBatch, name: str, good: set[str], path: str) -> pa.Array:
    """A column of a batch, looked at when it is asked for first.

    Args:
      batch: has it.
      name: of the column.
      good: the columns that were looked at; this one is added.
      path: of the file, for the message.

    Raises:
      Reject: it is damaged.
    """
    column = batch.column(name)
    if name not in good:
        try:
            _check_column(column)
        except pa.ArrowException as error:
            raise Reject("shard damaged", f"{shown(name)} of {path}: {error}") from error
        good.add(name)
    return column


def _check_column(column: pa.Array) -> None:
    """Looks at what Arrow takes for granted: lengths and places that lead out of a buffer end the
    process. Texts need not be UTF-8.

    Raises:
      ArrowInvalid: they are damaged.
    """
    column.validate()
    column.view(_as_bytes(column.type)).validate(full=True)


def _as_bytes(type_: pa.DataType) -> pa.DataType:
    """A type with bytes in the place of texts, at any depth."""
    if pa.types.is_struct(type_):
        return pa.struct([_field_as_bytes(field) for field in type_])
    if pa.types.is_map(type_):
        return pa.map_(_field_as_bytes(type_.key_field), _field_as_bytes(type_.item_field))
    if pa.types.is_fixed_size_list(type_):
        return pa.list_(_field_as_bytes(type_.value_field), type_.list_size)
    if pa.types.is_large_list(type_):
        return pa.large_list(_field_as_bytes(type_.value_field))
    if pa.types.is_list(type_):
        return pa.list_(_field_as_bytes(type_.value_field))
    if pa.types.is_dictionary(type_):
        return pa.dictionary(type_.index_type, _as_bytes(type_.value_type), type_.ordered)
    return _BYTES.get(type_, type_)


def _field_as_bytes(field: pa.Field) -> pa.Field:
    return field.with_type(_as_bytes(field.type))


def check_names(schema: pa.Schema) -> None:
    """Refuses names of columns, and of fields in them, that are not UTF-8 or stand there twice.

    Raises:
      ValueError: see above.
    """
    _check_names(list(schema))


def _check_names(fields: Sequence[pa.Field]) -> None:
    names = [field.name for field in fields]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"columns must have different names, {shown(twice)} stands there twice")
    for field in fields:
        _check_names([*_within(field.type)])


def _within(type_: pa.DataType) -> Iterator[pa.Field]:
    return map(type_.field, range(type_.num_fields))


def check_same(found: Sequence[tuple[str | Path, pa.Schema]], paths: Sequence[str | Path]) -> None:
    """Refuses Arrow files without rows, and those whose batches have other columns than the first.

    Args:
      found: of each batch its file and its columns.
      paths: of all files.

    Raises:
      ValueError: see above.
    """
    if not found:
        raise ValueError(
            f"Arrow files must hold rows, {paths[0] if paths else 'the list'} holds none; save "
            "the data again"
        )
    first, schema = found[0]
    for path, other in found:
        if other != schema:
            raise ValueError(
                f"Arrow files of one data set have the same columns, got "
                f"{_said(other)} in {path} beside {_said(schema)} in {first}; name them as parts "
                "joined by a comma"
            )


def _said(schema: pa.Schema) -> str:
    return ", ".join(map(shown, schema.names))
