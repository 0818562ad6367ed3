"""Which augmentation the settings of a config ask for: of photographs, or of drawings."""

import dataclasses
import logging
from collections.abc import Collection
from typing import Any

from data_pipelines.augment import Augment
from data_pipelines.photo_augment import PhotoAugment
from data_pipelines.styles import Styles

_LOG = logging.getLogger(__name__)


def augmentation(size: int, **settings: Any) -> Augment | PhotoAugment:
    """What a config says of augmentation: of photographs where a setting asks for a crop.

    A setting of drawings (of `Styles`, or a `scale`, `shift`, `aspect`, `shear`, `rotate` or
    `noise_p`) asks for `Augment`, whose crop is a square that keeps no photograph from aliasing;
    so does no setting at all. A style is drawn where one of its settings is named.

    Args:
      size: height and width of the output, in pixels.
      **settings: keyword arguments of `PhotoAugment`, or of `Augment` and of `Styles`.

    Raises:
      ValueError: settings of both, or one outside its range.
    """
    if is_of_photographs(settings):
        return PhotoAugment(size, **settings)
    if "crop" in settings:
        _LOG.warning(
            "augment.crop beside %s cuts squares that are sampled without a filter; for "
            "photographs leave that out, and say augment.ratio for their width over height",
            ", ".join(_kinds(settings)[1]),
        )
    style = {name: settings.pop(name) for name in _names(Styles) & settings.keys()}
    return Augment(size, **settings, style=Styles(**style) if style else None)


def photo_augmentation(**settings: Any) -> PhotoAugment:
    """The same for pictures of any shape, which are augmented as photographs or not at all.

    Args:
      **settings: keyword arguments of `PhotoAugment`, but its size.

    Raises:
      ValueError: a setting of drawings, or one outside its range.
    """
    drawn = sorted(settings.keys() - _names(PhotoAugment))
    if drawn:
        raise ValueError(
            f"pictures at their own aspect ratio are augmented as photographs, {', '.join(drawn)} "
            "is of drawings; leave it out"
        )
    return PhotoAugment(None, **settings)


def is_of_photographs(settings: Collection[str]) -> bool:
    """Whether settings of these names ask for `PhotoAugment`.

    Raises:
      ValueError: settings of both.
    """
    photo, drawn = _kinds(settings)
    if drawn and photo:
        raise ValueError(
            f"an augmentation is of photographs ({', '.join(photo)}) or of drawings "
            f"({', '.join(drawn)}), got settings of both; leave one kind out"
        )
    return bool(photo) or ("crop" in settings and not drawn)


def _kinds(settings: Collection[str]) -> tuple[list[str], list[str]]:
    """Those of photographs alone, and those of drawings alone."""
    styles, photos, drawings = map(_names, (Styles, PhotoAugment, Augment))
    own = set(settings)
    return sorted(own & (photos - drawings)), sorted(own & (styles | drawings - photos))


def _names(made: type[Any]) -> set[str]:
    return {field.name for field in dataclasses.fields(made)}
