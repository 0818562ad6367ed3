"""What another stack's files say of a model, before any weight is read."""

import dataclasses
from typing import Any

from data_pipelines.text import Tokenizer
from vlp.interop.layout import Rule
from vlp.interop.tensors import Tensors


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
