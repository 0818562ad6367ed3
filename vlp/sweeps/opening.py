"""The models that are in memory together, and share decoding: as many as there is room for."""

import os
from collections import deque
from collections.abc import Callable, Iterator

import jax
import numpy as np
from jax.experimental import multihost_utils

from vlp.parallel.together import everywhere
from vlp.sweeps.embedding import Opened
from vlp.sweeps.models import ModelRef
from vlp.sweeps.stored import Stored

AnyModel = Opened | Stored
SHARE = 4  # of a device's memory the weights may take a quarter: the rest is for activations
MOST = 16


def open_model(ref: ModelRef) -> AnyModel:
    """The model, on the devices; or its stored vectors.

    Raises:
        ValueError: it cannot be opened.
    """
    return Stored.of(ref) if ref.is_stored else Opened.of(ref)


def opened(
    refs: deque[ModelRef],
    *,
    at_once: int,
    refused: tuple[type[Exception], ...],
    say: Callable[[ModelRef, Exception | None], None],
) -> Iterator[AnyModel]:
    """The next models, opened, while there is room for one more of the last one's size.

    Every process must call this at the same time.

    Args:
        refs: of models; those that are opened, or cannot be, are taken out.
        at_once: how many, whatever their size; 0 for as many as there is room for.
        refused: what is raised where a model cannot be opened.
        say: called before a model is opened, and with the error where it cannot be.
    """
    left, count = (0 if at_once else room()), 0
    while refs and count < (at_once or MOST):
        ref = refs.popleft()
        say(ref, None)
        try:
            model = everywhere(lambda ref=ref: open_model(ref))  # type: ignore[misc]
        except refused as error:
            say(ref, error)
            continue
        yield model
        count += 1
        left -= weight(model)
        if not at_once and left < weight(model):
            return


def weight(model: AnyModel) -> int:
    """Bytes of a model's weights on each device."""
    if isinstance(model, Stored):
        return 0
    return sum(leaf.nbytes for leaf in jax.tree.leaves(model.encoder.params))


def room() -> int:
    """Bytes that weights may take of each device, of that with the least memory."""
    local = jax.local_devices()
    limits = [(device.memory_stats() or {}).get("bytes_limit", 0) for device in local]
    if not all(limits):  # CPUs: devices share the host's memory
        limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // len(local)]
    least = multihost_utils.process_allgather(np.asarray(min(limits), np.int64))
    return int(np.min(least)) // SHARE
