"""The towers of each modality, chosen by `kind`."""

from collections.abc import Callable, Mapping
from typing import Any

from flax import nnx

from vlp.models.audio import SpectrogramTransformer
from vlp.models.bert import Bert
from vlp.models.bow import BagOfWords
from vlp.models.frozen import FrozenTower
from vlp.models.inputs import PatchTokens, WordTokens
from vlp.models.naflex import NaflexTransformer
from vlp.models.resnet import ModifiedResNet
from vlp.models.text import TextTransformer
from vlp.models.vit import VisionTransformer
from vlp.settings import check_choice

# The first kind of a modality is what a tower is that says none.
TOWERS: dict[str, dict[str, Callable[..., Any]]] = {
    "image": {
        "vit": VisionTransformer,
        "naflex": NaflexTransformer,
        "resnet": ModifiedResNet,
        "patches": PatchTokens,
        "frozen": FrozenTower,
    },
    "text": {
        "transformer": TextTransformer,
        "bert": Bert,
        "bow": BagOfWords,
        "words": WordTokens,
    },
    "audio": {"ast": SpectrogramTransformer},
}


def usual_kind(modality: str) -> str:
    """The kind of a tower that says none."""
    return next(iter(TOWERS[modality]))


def make_tower(modality: str, settings: Mapping[str, Any] | None, *, rngs: nnx.Rngs) -> Any:
    """A tower, `tower(inputs, ...) -> (pooled [n, w], tokens [n, t, w])`; None without settings.

    Args:
        modality: a key of `TOWERS`.
        settings: keyword arguments of the class that "kind" names.

    Raises:
        ValueError: when there is no such kind.
    """
    if settings is None:
        return None
    settings, kinds = dict(settings), TOWERS[modality]
    kind = settings.pop("kind", usual_kind(modality))
    check_choice(f"{modality}.kind", kind, kinds)
    return kinds[kind](**settings, rngs=rngs)
