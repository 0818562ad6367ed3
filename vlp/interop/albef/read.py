"""A pretraining checkpoint of ALBEF's authors: one file of tensors, without any configuration."""

from collections.abc import Callable
from pathlib import Path

from vlp.interop.albef import layout
from vlp.interop.authors import checkpoint
from vlp.interop.foreign import Foreign
from vlp.interop.tensors import Tensors


def open_path(path: Path, *, read: Callable[[Path], Tensors]) -> Foreign:
    """What a checkpoint such as `ALBEF.pth` holds; the teacher and its queues are left out.

    The number of attention heads, which the file does not tell, is the width over 64, as in every
    size that was published.

    Args:
        path: the file, the authors' own or its tensors as safetensors.
        read: opens the file.

    Raises:
        ValueError: the file is no such checkpoint.

    References:
        Li et al., 2021, https://github.com/salesforce/ALBEF.
    """
    return checkpoint(
        "albef",
        layout,
        read(path),
        refusal="a pretraining checkpoint of ALBEF, which has {}; fine-tuned ones lack the head "
        "for masked words and",
    )
