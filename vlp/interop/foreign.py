"""What another stack's files say of a model, before any weight is read."""

import dataclasses
import logging
from typing import Any

from data_pipelines.text import Tokenizer
from vlp.interop.layout import Rule
from vlp.interop.tensors import Tensors

_log = logging.getLogger("vlp")


@dataclasses.dataclass(frozen=True)
class Foreign:
    """A model of another stack, understood but not yet loaded.

    Attributes:
        stack: which one, "hf" or another name in `vlp.interop.formats`.
        architecture: its name there, such as "CLIPModel".
        kwargs: the model's keyword arguments, see `vlp.models.build.model_class`.
        rules: how its tensors become parameters, see `vlp.interop.layout`.
        tensors: the file, its names made those of the rules.
        preprocess: what images go through there.
        tokenizer: of the text tower; None where the files bring none.
        objective: "clip" or "siglip": which logits the model was trained for.
        licence: of the weights, where the files tell.
        tokenizer_hint: where there is no tokenizer: which one to look for, or why not the files'.
    """

    stack: str
    architecture: str
    kwargs: dict[str, Any]
    rules: list[Rule]
    tensors: Tensors
    preprocess: Any
    tokenizer: Tokenizer | None
    objective: str
    licence: str = "unknown"
    tokenizer_hint: str = ""


def say_usual(preprocess: Any, *, source: Any, lacks: str, stack: str) -> None:
    """Says that pixels are made by a stack's own defaults, for the files do not tell."""
    _log.warning(
        "%s has no %s: pixels are made as %s does without one, by %r; put the file of these "
        "weights there if that is not how they were trained",
        source,
        lacks,
        stack,
        preprocess,
    )
