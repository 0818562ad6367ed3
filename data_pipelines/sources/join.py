"""Samples that two sources have in common by key, and sources of which not everything is used."""

import dataclasses
import os
from collections.abc import Callable, Collection, Mapping
from typing import Any

from data_pipelines.faults import Reject, shown
from data_pipelines.sources.base import Source, check_index, lasting_key
from data_pipelines.sources.fingerprints import joined
from data_pipelines.sources.survey import Stray, Survey
from data_pipelines.sources.within import Within

MODALITIES = ("image", "text", "audio")


class JoinedSource(Within):
    """The samples of a source whose key another one has, too; what one lacks is the other's.

    Keys are compared without the ending of a file, such as .jpg.

    Args:
      source: has the samples, in its order.
      other: adds to them.

    Raises:
      ValueError: no key in common, a key that stands for several samples of `other`, other
        limits, or files that are gone, whose keys nobody knows.
    """

    def __init__(self, source: Source, other: Source) -> None:
        if source.limits != other.limits:
            raise ValueError("joined sources need the same limits; open them with one")
        self.source, self.other = source, other
        self.name, self.limits = f"{source.name} with {other.name}", source.limits
        _check_whole(source, other)
        there = _rows_by_key(other)
        keys = [_key(source, row) for row in range(len(source))]
        self._rows = [(row, there[key]) for row, key in enumerate(keys) if key in there]
        mine = set(keys)
        self._strays = tuple(
            Stray(f"{lacks.name} has no such key", len(lonely), shown(lonely[0]))
            for lacks, lonely in (
                (other, [key for key in keys if key not in there]),
                (source, [key for key in there if key not in mine]),
            )
            if lonely
        )
        if not self._rows:
            raise ValueError(
                f"{source.name} and {other.name} are joined by key, and have none in common: "
                + " and ".join(stray.example for stray in self._strays)
            )

    @property
    def fingerprint(self) -> str:
        """Hash of both fingerprints."""
        return f"{joined(self.source.fingerprint + self.other.fingerprint)}[joined by key]"

    def __len__(self) -> int:
        return len(self._rows)

    def below(self, index: int) -> tuple[Source, int]:
        """The first source, and the sample's index there."""
        return self.source, self._rows[check_index(index, len(self))][0]

    def image(self, index: int) -> bytes:
        """The image file, of the source that has one."""
        return self._either(index, lambda source, row: source.image(row))

    def audio(self, index: int) -> bytes:
        """The sound file, of the source that has one."""
        return self._either(index, lambda source, row: source.audio(row))

    def captions(self, index: int) -> tuple[str | bytes, ...]:
        """The captions, of the source that has some."""
        return self._either(index, lambda source, row: source.captions(row))

    def meta(self, index: int) -> Mapping[str, Any]:
        """What both know; where they differ, what the first says."""
        row, other = self._rows[check_index(index, len(self))]
        return {**self.other.meta(other), **self.source.meta(row)}

    def survey(self) -> tuple[Survey, ...]:
        """The files that belong to no sample of either, and the keys that only one of them has.

        What one lacks the other may have, so that nothing is said to be missing.
        """
        parts = (*self.source.survey(), *self.other.survey())
        alone = [Survey(part.name, part.samples, strays=part.strays) for part in parts]
        return (*alone, Survey(self.name, len(self), strays=self._strays))

    def _either(self, index: int, read: Callable[[Source, int], Any]) -> Any:
        row, other = self._rows[check_index(index, len(self))]
        try:
            return read(self.source, row)
        except Reject as fault:
            if not fault.is_missing:
                raise
        return read(self.other, other)


class OnlySource(Within):
    """A source of which some modalities are used; the others are missing.

    Args:
      source: has the samples.
      modalities: those that are used.

    Raises:
      ValueError: an unknown modality, or none.
    """

    def __init__(self, source: Source, modalities: Collection[str]) -> None:
        unknown = sorted(set(modalities) - set(MODALITIES))
        if unknown or not modalities:
            raise ValueError(
                f"modalities must be some of {', '.join(MODALITIES)}, got "
                f"{unknown[0] if unknown else 'none'}"
            )
        self.source, self.modalities = source, tuple(m for m in MODALITIES if m in modalities)
        self.name, self.limits = source.name, source.limits

    @property
    def fingerprint(self) -> str:
        """That of the source, with what is used."""
        return f"{self.source.fingerprint}[only {', '.join(self.modalities)}]"

    def image(self, index: int) -> bytes:
        """The image file, where images are used."""
        self._check("image", "image missing")
        return super().image(index)

    def audio(self, index: int) -> bytes:
        """The sound file, where sounds are used."""
        self._check("audio", "audio missing")
        return super().audio(index)

    def captions(self, index: int) -> tuple[str | bytes, ...]:
        """The captions, where they are used."""
        self._check("text", "caption missing")
        return super().captions(index)

    def survey(self) -> tuple[Survey, ...]:
        """What the source holds of what is used."""
        unused: dict[str, Any] = {}
        if "image" not in self.modalities:
            unused |= dict(without_image=None, image_example="")
        if "text" not in self.modalities:
            unused |= dict(without_caption=None, caption_example="")
        if "audio" not in self.modalities:
            unused |= dict(without_audio=None)
        return tuple(dataclasses.replace(part, **unused) for part in self.source.survey())

    def _check(self, modality: str, reason: str) -> None:
        if modality not in self.modalities:
            raise Reject(reason, f"only {', '.join(self.modalities)} is used")


def _check_whole(*sources: Source) -> None:
    gone = [name for source in sources for part in source.survey() for name in part.gone]
    if gone:
        raise ValueError(
            f"data that are joined need the keys of all their files, and {gone[0]} is gone; run "
            "`vlp data index` on the others to forget it, which makes other data of them"
        )


def _rows_by_key(source: Source) -> dict[str, int]:
    rows: dict[str, int] = {}
    for row in range(len(source)):
        key = _key(source, row)
        if key in rows:
            raise ValueError(
                f"{source.name} is joined by key, so each must be of one sample, got "
                f"{shown(key)} twice; leave one out"
            )
        rows[key] = row
    return rows


def _key(source: Source, row: int) -> str:
    return os.path.splitext(lasting_key(source, row))[0]
