"""Which model a set of keyword arguments describes."""

from collections.abc import Mapping
from typing import Any

from vlp.models.albef import Albef
from vlp.models.blip import Blip
from vlp.models.coca import CoCa
from vlp.models.dual_encoder import DualEncoder
from vlp.models.vlmo import Vlmo

# The argument that only this model has.
MODELS: dict[str, type[DualEncoder]] = {
    "decoder": CoCa,
    "fusion": Albef,
    "modes": Blip,
    "multiway": Vlmo,
}


def model_class(kwargs: Mapping[str, Any]) -> type[DualEncoder]:
    """The class of a model's keyword arguments.

    Raises:
        ValueError: when they are of several classes at once.
    """
    found = [name for name in MODELS if name in kwargs]
    if len(found) > 1:
        raise ValueError(f"a model must have one of {', '.join(found)}, got all; remove the others")
    return MODELS[found[0]] if found else DualEncoder
