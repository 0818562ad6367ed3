"""Where the time of loading goes, stage by stage: by which of our modules is at work.

A profiler's hook keeps a stack of stages: a call into a module of a stage is of that stage, and a
call into anything else (a library, a module that is not named here) is of the stage that made it.
"""

import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

_HERE = str(Path(__file__).parent)
OTHER = "batch"  # all else that this package does: which sample, its row, its place in a batch
# By module or package of this one.
_STAGES = {
    "read": ("sources", "io", "specs", "opening", "emoji"),
    "decode": ("decode", "photos", "png", "jpeg", "exif", "arrays", "kinds", "sound"),
    "resize": ("resize", "crops", "pixels", "naflex", "naflex_field"),
    "augment": (
        "augment", "autoaugment", "randaugment", "filters", "photo_augment", "photo_ops",
        "sound_augment", "styles",
    ),
    "tokenise": ("tokens", "text"),
    "spectrogram": ("audio",),
}  # fmt: skip
_STAGE_OF = {module: stage for stage, modules in _STAGES.items() for module in modules}


def timed(work: Callable[[], Any]) -> dict[str, float]:
    """Seconds by stage of what a function does in this thread; calls within are counted too.

    The hook takes time itself, so that shares mean more than sums.
    """
    seconds: defaultdict[str, float] = defaultdict(float)
    stack: list[str] = [OTHER]
    known: dict[CodeType, str | None] = {}
    since = time.perf_counter()

    def switch(stage: str) -> None:
        nonlocal since
        now = time.perf_counter()
        seconds[stage] += now - since
        since = now

    def hook(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            code = frame.f_code
            if code not in known:
                known[code] = _stage(code.co_filename)
            stage = known[code] or stack[-1]
            if stage != stack[-1]:
                switch(stack[-1])
            stack.append(stage)
        elif event == "return" and len(stack) > 1:
            stage = stack.pop()
            if stage != stack[-1]:
                switch(stage)

    before = sys.getprofile()
    sys.setprofile(hook)
    try:
        work()
    finally:
        sys.setprofile(before)
    switch(stack[0])
    return dict(seconds)


def _stage(file: str) -> str | None:
    """The stage of a module; None where it is of whoever calls it."""
    if not file.startswith(_HERE):
        return None
    module = Path(file).relative_to(_HERE).parts[0].removesuffix(".py")
    return _STAGE_OF.get(module, OTHER if module in ("assemble", "fields", "order") else None)
