"""Lets `open_clip` be imported next to a CPU build of torch.

open_clip imports torchvision, whose compiled operators may be missing for a CPU-only torch; its
import then stops at two operators that nothing here calls. Declaring them is enough. Where the pair
fits they are there already, and a second declaration would end the process.
"""

import torch

_MISSING = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)

try:
    import torchvision  # noqa: F401
except RuntimeError:
    _LIBRARY = torch.library.Library("torchvision", "FRAGMENT")
    for _schema in _MISSING:
        _LIBRARY.define(_schema)
