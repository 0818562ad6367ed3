"""A checkpoint of BLIP's authors: one file of tensors, without any configuration."""

from pathlib import Path

from vlp.interop.adapt import complete
from vlp.interop.authors import checkpoint
from vlp.interop.blip.layout import kwargs, renamed, rules
from vlp.interop.foreign import Foreign
from vlp.interop.weights import open_tensors


def open_path(path: Path, *, allow_pickle_weights: bool = False) -> Foreign:
    """What a checkpoint such as `model_base.pth` holds, of pretraining or fine-tuned for retrieval
    or captions; the teacher and its queues are left out.

    The number of attention heads, which the file does not tell, is the width over 64, as in every
    size that was published. What encoder and decoder share is taken from the encoder.

    Args:
        path: the file, the authors' own or its tensors as safetensors.
        allow_pickle_weights: see `vlp.interop.weights.open_tensors`.

    Raises:
        ValueError: the file is no such checkpoint.

    References:
        Li et al., 2022, https://github.com/salesforce/BLIP.
    """
    tensors = open_tensors(path, allow_pickle_weights=allow_pickle_weights)
    try:
        settings = kwargs(tensors.shapes)
    except KeyError as error:
        raise ValueError(
            f"{path} must hold a checkpoint of BLIP of pretraining, for retrieval or for captions, "
            f"which has {error.args[0]}; those for questions or pairs of images cannot be read"
        ) from error
    encodes = "encode" in settings["modes"]
    return checkpoint(
        "blip",
        settings=settings,
        rules=rules(complete(settings)),
        tensors=tensors.renamed(lambda name: renamed(name, encodes=encodes)),
    )
