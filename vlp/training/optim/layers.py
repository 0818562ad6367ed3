"""Where in its tower a parameter stands, for learning rates that fall from layer to layer."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from vlp.training.params import Path, path_name

# What a tower has before its first block, by the name behind the tower's.
BEFORE = frozenset((
    "class_token", "embed_norm", "kind", "mask_token", "patches", "positions", "pre_norm", "tokens",
    "types",
))  # fmt: skip
# The blocks that towers without their own go through.
SHARED = ("multiway",)


def layers_behind(shapes: Mapping[Path, Any]) -> dict[Path, Any]:
    """How many layers are from each parameter to what stands behind the blocks of its tower.

    Patches, tokens, positions and the like have `depth + 1`, the first block `depth`, the last one
    1; norms and heads behind the blocks have 0, and so has what is in no tower with blocks. These
    are the exponents of BEiT, MAE and BEiT-3. Towers count by themselves: the decoder behind an
    image tower is one.

    Args:
        shapes: all parameters of a model by path, or their shapes.

    Returns:
        An int each; for blocks, whose arrays are stacked, `[depth, 1, ...]` of the array's rank.

    References:
        Bao et al., 2022 (BEiT), https://arxiv.org/abs/2106.08254, and its code,
        https://github.com/microsoft/unilm/tree/master/beit (`optim_factory.py`); He et al., 2022
        (MAE), https://github.com/facebookresearch/mae (`util/lr_decay.py`); Clark et al., 2020
        (ELECTRA), https://arxiv.org/abs/2003.10555.
    """
    stacks = _stacks(shapes)
    return {path: _behind(path, np.ndim(leaf), stacks) for path, leaf in shapes.items()}


def _stacks(shapes: Mapping[Path, Any]) -> dict[Path, dict[Path, int]]:
    """By tower: the depths of its stacks of blocks, in their order."""
    depths = {_stack(path): leaf.shape[0] for path, leaf in shapes.items() if "blocks" in path}
    found: dict[Path, dict[Path, int]] = {}
    for stack in sorted(depths, key=path_name):
        found.setdefault(stack[:-1] or stack, {})[stack] = depths[stack]
    return found


def _stack(path: Path) -> Path:
    return path[: path.index("blocks")]


def _behind(path: Path, rank: int, stacks: Mapping[Path, Mapping[Path, int]]) -> Any:
    tower = next((tower for tower in stacks if path[: len(tower)] == tower), None)
    depths = stacks.get(tower or SHARED, {})
    if "blocks" in path:
        order = list(depths)
        behind = sum(depths[stack] for stack in order[order.index(_stack(path)) :])
        return (behind - np.arange(depths[_stack(path)])).reshape(-1, *[1] * (rank - 1))
    inside = path[len(tower or path[:1]) :]
    return sum(depths.values()) + 1 if depths and inside and inside[0] in BEFORE else 0
