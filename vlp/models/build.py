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


# Settings of towers and heads that count something there has to be.
SIZES = frozenset((
    "embed_dim", "image_size", "patch_size", "width", "depth", "num_heads", "mlp_dim", "vocab_size",
    "length", "num_queries", "num_patches", "unroll",
))  # fmt: skip


def check_sizes(kwargs: Mapping[str, Any], section: str = "") -> None:
    """Raises ValueError where a model's keyword arguments give a size below 1."""
    for name, value in kwargs.items():
        if isinstance(value, Mapping):
            check_sizes(value, f"{section}{name}.")
        elif name in SIZES and isinstance(value, int) and value < 1:
            raise ValueError(
                f"{section}{name} must be at least 1, got {value}; leave it out to take the "
                "preset's, or give a size"
            )


def model_class(kwargs: Mapping[str, Any]) -> type[DualEncoder]:
    """The class of a model's keyword arguments.

    Raises:
        ValueError: when they are of several classes at once.
    """
    found = [name for name in MODELS if name in kwargs]
    if len(found) > 1:
        raise ValueError(f"a model must have one of {', '.join(found)}, got all; remove the others")
    return MODELS[found[0]] if found else DualEncoder
