"""What tars say of their samples beside pictures, read before any picture is."""

import io
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeVar

import numpy as np

from data_pipelines.faults import shown
from data_pipelines.sources.annotations import read_annotations
from data_pipelines.sources.tar import TarSource
from vlp.sweeps.texts import short

T = TypeVar("T")


def members_beside(source: TarSource, *, suffixes: Collection[str]) -> list[Mapping[str, bytes]]:
    """The members of each sample that have one of these suffixes; keys may be those of other tars.

    Raises:
        ValueError: a tar is cut, or is none.
    """
    known = {}
    for tar in source.paths:  # also those that are so damaged that no sample is of them
        try:
            known[tar] = read_annotations(tar, suffixes=suffixes)
        except ValueError as error:
            raise ValueError(
                f"{short(tar)} must be whole, or part of {source.name} is missing: {error}"
            ) from error
    return [known[source.file(index)].get(source.key(index), {}) for index in range(len(source))]


def read_each(
    source: TarSource,
    beside: Sequence[Mapping[str, bytes]],
    suffix: str,
    read: Callable[[bytes], T],
) -> list[T | None]:
    """What a member of every sample says; None where it has none.

    Raises:
        ValueError: one says nothing that can be read; names it.
    """
    found: list[T | None] = []
    for index, members in enumerate(beside):
        try:
            found.append(read(members[suffix]) if suffix in members else None)
        except (ValueError, EOFError) as error:
            raise ValueError(
                f"{shown(source.key(index))}.{suffix} in {short(source.file(index))} of "
                f"{source.name} cannot be read: {error}"
            ) from error
    return found


def array(data: bytes) -> np.ndarray:
    """An array of numbers.

    Raises:
        ValueError: it is none, or is of Python's objects, which are not loaded.
    """
    found = np.load(io.BytesIO(data), allow_pickle=False)
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "buif":
        raise ValueError(f"an array of numbers is needed, got {getattr(found, 'dtype', 'others')}")
    return found
