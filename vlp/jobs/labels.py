"""The labels of a data set, read from its samples' metadata before any image is."""

from collections.abc import Iterable, Mapping
from typing import Any

from data_pipelines.faults import Reject
from data_pipelines.sources import Source
from data_pipelines.sources.labels import label_names


def read_labels(source: Source, field: str) -> list[str | None]:
    """What the field says of each sample; None where it says nothing.

    Args:
        source: the data.
        field: of the samples' metadata.

    Raises:
        ValueError: no sample has a label there, or one has several.
    """
    labels = [_label(source, index, field) for index in range(len(source))]
    if not any(label is not None for label in labels):
        raise ValueError(
            f"the field {field!r} must hold the label of a sample, none of {len(labels):,} of "
            f"{source.name} has one; {fields_there(source, range(len(labels)))}"
        )
    return labels


def fields_there(source: Source, of: Iterable[int]) -> str:
    """The fields of the first of these samples that has any, in words."""
    fault = ""
    for index in of:
        try:
            found = source.meta(index)
        except Reject as error:
            fault = fault or f"; of {source.key(index)} none can be read ({error})"
        else:
            if found:
                return f"fields there: {', '.join(sorted(found))}"
    return (
        f"there are no fields: a label is a field of KEY.json, KEY.cls, or a folder a class{fault}"
    )


def metadata(source: Source, index: int) -> Mapping[str, Any]:
    """What a source knows beside a pair; nothing where that cannot be read."""
    try:
        return source.meta(index)
    except Reject:
        return {}


def _label(source: Source, index: int, field: str) -> str | None:
    try:
        names = label_names(metadata(source, index).get(field))
    except ValueError as error:
        raise ValueError(f"{source.name}, {source.key(index)}, {field!r}: {error}") from error
    if len(names) > 1:
        raise ValueError(
            f"{field!r} must hold one label a sample, {source.key(index)} of {source.name} has "
            f"{', '.join(names)}; name a field with one, scores of several labels are not offered"
        )
    return names[0] if names else None
