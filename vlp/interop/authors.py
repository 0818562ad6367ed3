"""What checkpoints of papers' authors have in common: one file of tensors, no configuration."""

from types import ModuleType

from data_pipelines.images import ImagePreprocess
from vlp.interop.adapt import complete
from vlp.interop.foreign import Foreign
from vlp.interop.hf.clip import MEAN, STD
from vlp.interop.tensors import Tensors


def checkpoint(stack: str, layout: ModuleType, tensors: Tensors, *, refusal: str) -> Foreign:
    """A model whose pictures are squashed, bicubic, with CLIP's mean and deviation, and whose
    captions are BERT's.

    Args:
        stack: its name in `vlp.interop.formats`, and the objective's.
        layout: the module that reads its keyword arguments off the tensors, and has the rules.
        tensors: the file.
        refusal: what to say of a file without a tensor, with "{}" for its name.

    Raises:
        ValueError: a tensor that the sizes are read off is not there.
    """
    tensors = layout.cleared(tensors)
    try:
        settings = layout.kwargs(tensors.shapes)
    except KeyError as error:
        missing = refusal.format(error.args[0])
        raise ValueError(f"{tensors.source} must hold {missing} cannot be read") from error
    size = settings["image"]["image_size"]
    return Foreign(
        stack=stack,
        architecture=stack.upper(),
        kwargs=settings | dict(image_mean=list(MEAN), image_std=list(STD)),
        rules=layout.rules(complete(settings)),
        tensors=tensors,
        preprocess=ImagePreprocess(size, resize="squash", mean=MEAN, std=STD),
        tokenizer=None,
        objective=stack,
        licence="BSD-3-Clause",
        tokenizer_hint=f"{stack.upper()} reads captions with BERT's uncased vocabulary",
    )
