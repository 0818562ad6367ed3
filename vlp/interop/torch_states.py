"""The hidden states of a PyTorch tower, by hooks on its blocks."""

import contextlib
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch


@contextlib.contextmanager
def hidden_states(blocks: Iterable[torch.nn.Module]) -> Iterator[Callable[[], np.ndarray]]:
    """What enters the first of the blocks and what leaves each, once the model has run.

    Yields:
        A function that gives them, `[states, n, t, w]`.
    """
    blocks, seen = list(blocks), []
    hooks = [blocks[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))]
    hooks += [block.register_forward_hook(lambda *call: seen.append(call[-1])) for block in blocks]
    try:
        yield lambda: np.stack([state.detach().numpy() for state in seen])
    finally:
        for hook in hooks:
            hook.remove()
