"""A batch that models go through a few examples at a time, with the losses of the whole."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from vlp.parallel.mesh import AnyMesh, said
from vlp.parallel.shares import own_rows, parts


@dataclasses.dataclass(frozen=True)
class MicroBatches:
    """How many examples models see at a time.

    What losses compare, embeddings, tokens to be exchanged, or losses themselves, is kept of all
    examples, and the backward pass computes all else again: memory holds the activations of one
    micro-batch only, while losses and gradients are those of the whole batch. On a mesh each part
    of its axis `data` goes through its own rows, and gradients are added up when it is through.

    Attributes:
        size: examples at a time, of all devices together; None for all at once.
        mesh: over which the batch is split.

    Raises:
        ValueError: when a mesh cannot have them.

    References:
        Gao et al., 2021 (GradCache), https://arxiv.org/abs/2101.06983.
    """

    size: int | None = None
    mesh: AnyMesh | None = None

    def __post_init__(self) -> None:
        """Checks the size."""
        size, count = self.size, parts(self.mesh)
        sizes = {} if self.mesh is None else self.mesh.shape
        if size is not None and min(count, sizes.get("fsdp", 1), sizes.get("tensor", 1)) > 1:
            raise ValueError(  # XLA ends the process: spmd_partitioner_util.cc, ExpandDeviceGroups
                "micro_batch_size does not go with all of the mesh's axes data, fsdp and tensor, "
                f"which XLA cannot compile, got {size} on {said(sizes)}; set one of the axes to 1"
            )
        if size is not None and (size < 1 or size % count):
            raise ValueError(
                f"micro_batch_size must divide by the {count} parts of the mesh's axis data, got "
                f"{size}; try {max(1, -(-size // count)) * count}, or None for the whole batch at "
                "once"
            )

    def divide(self, rows: Any) -> bool:
        """Whether so many rows are more than one micro-batch."""
        return self.size is not None and self.size < len(jax.tree.leaves(rows)[0])

    def __call__(self, function: Callable[[Any, Any], Any], models: Any, rows: Any) -> Any:
        """`function(models, rows)`, where it sees few rows at a time.

        Args:
            function: from models and rows to a pytree of arrays `[n, ...]`. What else it looks at
                must have no gradient.
            models: one or a tuple of several.
            rows: a pytree of arrays `[n, ...]`.
        """
        if self.size is None or not self.divide(rows):
            return function(models, rows)
        graphdef, params = nnx.split(models)
        size = self.size // parts(self.mesh)

        def through_own(params: Any, rows: Any) -> Any:
            def few(part: Any) -> Any:
                return function(nnx.merge(graphdef, params), part)

            return map_micro_batches(few, rows, size=size)

        return own_rows(through_own, self.mesh)(params, rows)


AT_ONCE = MicroBatches()


def map_micro_batches(function: Callable[[Any], Any], inputs: Any, *, size: int) -> Any:
    """`function(inputs)`, applied to `size` examples at a time and recomputed for gradients.

    Micro-batch s takes the examples s, s + steps, s + 2 steps, ...: where the batch axis is sharded
    in contiguous pieces, each micro-batch is spread over all devices, without communication.
    """
    n = jax.tree.leaves(inputs)[0].shape[0]
    steps = -(-n // size)

    def split(x):
        if n % size:
            x = jnp.concatenate([x, x[: steps * size - n]])  # sliced off again below
        return x.reshape(size, steps, *x.shape[1:]).swapaxes(0, 1)

    def join(x):
        return x.swapaxes(0, 1).reshape(steps * size, *x.shape[2:])[:n]

    return jax.tree.map(join, jax.lax.map(jax.checkpoint(function), jax.tree.map(split, inputs)))
