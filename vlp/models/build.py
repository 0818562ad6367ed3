"""Which model a set of keyword arguments describes."""

from collections.abc import Mapping
from typing import Any

from flax import nnx

from vlp.models.albef import Albef
from vlp.models.base import Model
from vlp.models.blip import Blip
from vlp.models.blip2 import Blip2
from vlp.models.bound import Bound
from vlp.models.coca import CoCa
from vlp.models.dual_encoder import DualEncoder
from vlp.models.tagger import Tagger
from vlp.models.vlmo import Vlmo
from vlp.settings import check_choice

MODELS: dict[str, type[Model]] = {
    "dual_encoder": DualEncoder,
    "coca": CoCa,
    "albef": Albef,
    "blip": Blip,
    "blip2": Blip2,
    "vlmo": Vlmo,
    "bound": Bound,
    "tagger": Tagger,
}
# What only these have, by which a model is known that does not say its kind.
_MARKS = {
    "decoder": "coca",
    "fusion": "albef",
    "modes": "blip",
    "num_queries": "blip2",
    "multiway": "vlmo",
    "num_labels": "tagger",
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


def model_class(kwargs: Mapping[str, Any]) -> type[Model]:
    """The class of a model's keyword arguments: that of their "kind", or what they are like.

    Raises:
        ValueError: when there is no such kind, or they are of several at once.
    """
    marks = {kind for mark, kind in _MARKS.items() if mark in kwargs}
    kind = kwargs.get("kind") or next(iter(marks), "dual_encoder")
    check_choice("model.kind", kind, MODELS)
    if others := marks - {kind}:
        extra = [mark for mark in _MARKS if mark in kwargs and _MARKS[mark] in others]
        raise ValueError(
            f'a model of kind "{kind}" takes no {", ".join(extra)}, which are of '
            f"{', '.join(sorted(others))}; remove them, or give another model.kind"
        )
    return MODELS[kind]


def make_model(kwargs: Mapping[str, Any], *, rngs: nnx.Rngs) -> Model:
    """The model that keyword arguments describe."""
    return model_class(kwargs)(**without_kind(kwargs), rngs=rngs)


def without_kind(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments as the constructor of `model_class` takes them."""
    return {name: value for name, value in kwargs.items() if name != "kind"}


def frozen_towers(kwargs: Mapping[str, Any]) -> tuple[str, ...]:
    """The towers of a model whose weights are other models', of these names."""
    towers = (name for name in ("image", "text") if (kwargs.get(name) or {}).get("kind"))
    return tuple(name for name in towers if kwargs[name]["kind"] == "frozen")


def with_frozen(
    kwargs: Mapping[str, Any], frozen: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """A model's keyword arguments with its frozen towers in their places.

    Args:
        kwargs: of the model.
        frozen: those of the other models, by name.
    """
    return {**kwargs, **{name: frozen[name][name] for name in frozen_towers(kwargs)}}
