"""A checkpoint of BLIP's authors: one file of tensors, without any configuration."""

from collections.abc import Callable
from pathlib import Path

from vlp.interop.authors import checkpoint
from vlp.interop.blip import layout
from vlp.interop.foreign import Foreign
from vlp.interop.tensors import Tensors


def open_path(path: Path, *, read: Callable[[Path], Tensors]) -> Foreign:
    """What a checkpoint such as `model_base.pth` holds, of pretraining or fine-tuned for retrieval
    or captions; the teacher and its queues are left out.

    The number of attention heads, which the file does not tell, is the width over 64, as in every
    size that was published.

    Args:
        path: the file, the authors' own or its tensors as safetensors.
        read: opens the file.

    Raises:
        ValueError: the file is no such checkpoint.

    References:
        Li et al., 2022, https://github.com/salesforce/BLIP.
    """
    return checkpoint(
        "blip",
        layout,
        read(path),
        refusal="a checkpoint of BLIP of pretraining, for retrieval or for captions, which has {}; "
        "those for questions or pairs of images",
    )
