"""Names of tensors in open_clip's `ModifiedResNet`."""

from collections.abc import Sequence

import numpy as np

from vlp.interop.layout import Rule, joined_linear, linear, same

COUNTER = "num_batches_tracked"
"""The end of names of a buffer that evaluation does not use and nobody else has."""


def resnet_rules(blocks: Sequence[int]) -> list[Rule]:
    """The image tower, its attention pooling included.

    Args:
        blocks: of each stage.
    """
    rules: list[Rule] = []
    for i in (1, 2, 3):
        rules += _conv_norm(f"image/stem/conv{i}", f"image/stem/norm{i}", f"conv{i}", f"bn{i}")
    for stage, count in enumerate(blocks, start=1):
        for block in range(count):
            rules += _bottleneck(f"layer{stage}", block)
    return [*rules, *_pool()]


def counters(blocks: Sequence[int]) -> dict[str, np.ndarray]:
    """What PyTorch counts training batches with, for each batch norm: zero."""
    norms = [name for rule in resnet_rules(blocks) for name in rule.theirs]
    means = [name for name in norms if name.endswith("running_mean")]
    return {f"{name.rpartition('.')[0]}.{COUNTER}": np.zeros((), np.int64) for name in means}


def _bottleneck(stage: str, block: int) -> list[Rule]:
    ours, theirs = f"image/{stage}/{block}", f"{stage}.{block}"
    rules: list[Rule] = []
    for i in (1, 2, 3):
        rules += _conv_norm(
            f"{ours}/conv{i}", f"{ours}/norm{i}", f"{theirs}.conv{i}", f"{theirs}.bn{i}"
        )
    if block == 0:  # the only one whose input has another shape
        shortcut, there = f"{ours}/downsample", f"{theirs}.downsample"
        rules += _conv_norm(f"{shortcut}/conv", f"{shortcut}/norm", f"{there}.0", f"{there}.1")
    return rules


def _conv_norm(conv: str, norm: str, their_conv: str, their_norm: str) -> list[Rule]:
    leaves = dict(scale="weight", bias="bias", mean="running_mean", variance="running_var")
    return [
        Rule(
            (f"{conv}/kernel",),
            (f"visual.{their_conv}.weight",),
            lambda tensor: [tensor.transpose(2, 3, 1, 0)],
            lambda array: [array.transpose(3, 2, 0, 1)],
        ),
        *(same(f"{norm}/{ours}", f"visual.{their_norm}.{name}") for ours, name in leaves.items()),
    ]


def _pool() -> list[Rule]:
    ours, theirs = "image/head/attention", "visual.attnpool"
    return [
        same("image/head/positions", f"{theirs}.positional_embedding"),
        *linear(f"{ours}/query", f"{theirs}.q_proj"),
        *joined_linear(f"{ours}/key_value", [f"{theirs}.k_proj", f"{theirs}.v_proj"]),
        *linear(f"{ours}/out", f"{theirs}.c_proj"),
    ]
