"""Lets `open_clip` be imported next to a CPU build of torch.

open_clip imports torchvision, whose compiled operators may be missing for a CPU-only torch; its
import then stops at two operators that nothing here calls. Declaring them is enough.
"""

import torch

_LIBRARY = torch.library.Library("torchvision", "FRAGMENT")
for _schema in (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
):
    if not hasattr(torch.ops.torchvision, _schema.partition("(")[0]):
        _LIBRARY.define(_schema)
