"""The pictures of a set as a model takes them, decoded by the benchmarks' rule or by vlp's own."""

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from PIL import Image

from data_pipelines.limits import MAX_PIXELS
from data_pipelines.pillow_rgb import pillow_rgb
from vlp.sweeps.sets import PLAIN

_EITHER = (1, 3, 4)  # so many rows of pixels may be channels as well


class PlainPreprocess:
    """A preprocessing of pictures that are decoded as the benchmarks' own programs do it.

    Args:
        preprocess: of the model.

    Attributes:
        odd: how many pictures vlp's own rule would show otherwise, by what is odd about them.
    """

    def __init__(self, preprocess: Callable[..., Any]) -> None:
        self._preprocess = preprocess
        self._lock = threading.Lock()
        self.odd: Counter[str] = Counter()

    def __call__(self, image: Any, *, max_pixels: int = MAX_PIXELS) -> Any:
        """What the preprocessing makes of the bytes of a file, or of an array."""
        if not isinstance(image, bytes):
            return self._preprocess(image, max_pixels=max_pixels)
        pixels, odd = pillow_rgb(image, max_pixels=max_pixels)
        if odd:
            with self._lock:
                self.odd[odd] += 1
        given = Image.fromarray(pixels) if len(pixels) in _EITHER else pixels
        return self._preprocess(given, max_pixels=max_pixels)


def by_rule(preprocess: Callable[..., Any], rule: str) -> Callable[..., Any]:
    """The preprocessing of a model, of pictures decoded by a rule, "plain" or "upright"."""
    return PlainPreprocess(preprocess) if rule == PLAIN else preprocess
