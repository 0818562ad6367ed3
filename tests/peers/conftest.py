"""Makes torchvision importable beside a torch it was not built for, such as some CPU wheels.

Its import then stops at two detection operators that nothing here uses; their schemas are enough.
"""

import warnings

import pytest
import torch

MISSING = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        LIBRARY = torch.library.Library("torchvision", "DEF")
        for schema in MISSING:
            LIBRARY.define(schema)
        import torchvision  # noqa: F401


def pytest_collection_modifyitems(items):
    """What the peers warn of is theirs to mend: not an error in this suite."""
    for item in items:
        if "peers" in item.path.parts:
            item.add_marker(pytest.mark.filterwarnings("default"))
