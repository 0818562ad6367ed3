"""What checkpoints of papers' authors have in common: one file of tensors, no configuration."""

from typing import Any

from data_pipelines.images import ImagePreprocess
from vlp.interop.foreign import Foreign
from vlp.interop.hf.clip import MEAN, STD
from vlp.interop.layout import Rule
from vlp.interop.tensors import Tensors


def checkpoint(
    stack: str, *, settings: dict[str, Any], rules: list[Rule], tensors: Tensors
) -> Foreign:
    """A model whose pictures are squashed, bicubic, with CLIP's mean and deviation, and whose
    captions are BERT's.

    Args:
        stack: its name in `vlp.interop.formats`, and the objective's.
        settings: the model's keyword arguments, read off the tensors.
        rules: how its tensors become parameters.
        tensors: the file, its names made those of the rules.
    """
    size = settings["image"]["image_size"]
    return Foreign(
        stack=stack,
        architecture=stack.upper(),
        kwargs=settings | dict(image_mean=list(MEAN), image_std=list(STD)),
        rules=rules,
        tensors=tensors,
        preprocess=ImagePreprocess(size, resize="squash", mean=MEAN, std=STD),
        tokenizer=None,
        objective=stack,
        licence="BSD-3-Clause",
        tokenizer_hint=f"{stack.upper()} reads captions with BERT's uncased vocabulary",
    )
