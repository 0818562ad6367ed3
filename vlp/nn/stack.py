"""A stack of equal transformer blocks, stored as one block with a leading depth axis."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float, Int

from vlp.nn.attention import Mask
from vlp.nn.block import Block
from vlp.nn.edges import at_edge
from vlp.settings import check_choice, handing_on

_INPUT = "the input of a layer"
REMAT = {
    "none": None,
    "full": jax.checkpoint_policies.nothing_saveable,
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    "offload": jax.checkpoint_policies.save_and_offload_only_these_names(
        names_which_can_be_saved=[],
        names_which_can_be_offloaded=[_INPUT],
        offload_src="device",
        offload_dst="pinned_host",
    ),
}


class Layers(nnx.Module):
    """Equal blocks run by `jax.lax.scan`; every parameter of `blocks` is `[count, ...]`. Abstract.

    Args:
        width: of the sequence.
        count: how many blocks.
        mlp_ratio: hidden width of the perceptrons relative to `width`, unless `mlp_dim` is given.
        remat: what the backward pass recomputes: "none", "full" (keep the input of each block
            only), "dots" (keep the outputs of the large matrix products), or "offload" (as
            "full", but the inputs of blocks wait in the memory of the device's host).
        unroll: how many blocks one iteration of the scan holds.
        **settings: further keyword arguments of the class `block`.

    Raises:
        ValueError: when `remat` is unknown or `count` or `unroll` is under 1.
    """

    block: Any  # the class of each

    def __init__(
        self,
        width: int,
        count: int,
        *,
        mlp_ratio: float = 4.0,
        mlp_dim: int | None = None,
        remat: str = "none",
        unroll: int = 1,
        rngs: nnx.Rngs,
        **settings: Any,
    ):
        check_choice("remat", remat, REMAT)
        if count < 1 or unroll < 1:
            raise ValueError(f"depth and unroll must be at least 1, got {count} and {unroll}")
        self.depth, self.remat, self.unroll = count, remat, min(unroll, count)
        settings["mlp_dim"] = mlp_dim or round(width * mlp_ratio)
        make = functools.partial(self.block, width, **settings)
        self.blocks: Any = repeated(make, count, rngs=rngs)

    def __call__(
        self, x: Float[Array, "n l w"], *context: Float[Array, "n s c"], **inputs: Any
    ) -> Float[Array, "n l w"]:
        """The sequence behind all blocks, each of which gets the context and inputs besides."""
        return through_layers(
            self.blocks, x, *context, remat=self.remat, unroll=self.unroll, **inputs
        )

    def outputs(self, x: Float[Array, "n l w"], **inputs: Any) -> Float[Array, "count n l w"]:
        """What leaves each block."""
        apply, layers = _layer_function(
            self.blocks, remat=self.remat, unroll=self.unroll, inputs=inputs
        )

        def step(x, layer):
            y = apply(layer, x)
            return y, y

        return jax.lax.scan(step, x, layers, unroll=self.unroll)[1]

    def next(
        self, x: Float[Array, "n 1 w"], cache: Any, *, position: Int[Array, ""]
    ) -> tuple[Float[Array, "n 1 w"], Any]:
        """One token more of a causal sequence, and the cache with it; see `SelfAttention.next`."""
        return next_in_layers(self.blocks, x, cache, unroll=self.unroll, position=position)


def repeated(make: Callable[..., nnx.Module], depth: int, *, rngs: nnx.Rngs) -> nnx.Module:
    """One block whose parameters have a leading axis of `depth`, random numbers for each.

    Args:
        make: a block, from its `rngs`.
        depth: how many.
        rngs: for all.
    """
    keys = jax.random.split(rngs.params(), depth)
    return nnx.vmap(lambda key: make(rngs=nnx.Rngs(key)))(keys)


class Stack(Layers):
    """A stack of `vlp.nn.block.Block`, which see for the settings."""

    block = Block

    @handing_on(Layers, Block)
    def __init__(self, width: int, depth: int, **settings: Any):
        super().__init__(width, depth, depth=depth, **settings)

    def hidden_states(
        self, x: Float[Array, "n l w"], *, mask: Mask | None = None
    ) -> Float[Array, "states n l w"]:
        """The input and the output of every block, `[depth + 1, n, l, w]`."""
        return jnp.concatenate([x[None], self.outputs(x, mask=mask)])

    def last_alone(self, x: Float[Array, "n l w"]) -> Float[Array, "n l w"]:
        """The sequence behind all blocks, in the last of which each token sees itself alone."""
        return layer_of(self.blocks, -1).alone(self.hidden_states(x)[-2])


def through_layers(
    blocks: nnx.Module,
    x: Float[Array, "n l w"],
    *context: Float[Array, "n s c"],
    remat: str,
    unroll: int,
    **inputs: Any,
) -> Float[Array, "n l w"]:
    """The sequence behind all layers.

    Args:
        blocks: a block whose parameters have a leading layer axis.
        x: what enters the first layer.
        remat, unroll: as in `Layers`.
        *context, **inputs: what every block gets besides.
    """
    apply, layers = _layer_function(blocks, *context, remat=remat, unroll=unroll, inputs=inputs)
    x, _ = jax.lax.scan(lambda x, layer: (apply(layer, x), None), x, layers, unroll=unroll)
    return x


def _layer_function(
    blocks: nnx.Module, *context: Array, remat: str, unroll: int, inputs: dict[str, Any]
) -> tuple[Callable, nnx.State]:
    """One layer as a function `(layer, x) -> x` for `jax.lax.scan`, and the stacked layers."""
    graphdef, layers = nnx.split(blocks)

    def layer_alone(layer, x):
        if remat == "offload":
            x = checkpoint_name(x, _INPUT)
        return nnx.merge(graphdef, layer)(x, *context, **inputs)

    apply = layer_alone
    if remat != "none":
        # Inside a loop the compiler cannot merge the recomputation with the forward pass, so the
        # guard against that is needed only for unrolled blocks.
        apply = jax.checkpoint(layer_alone, policy=REMAT[remat], prevent_cse=unroll > 1)
    return lambda layer, x: at_edge(apply(layer, at_edge(x))), layers


def layer_of(blocks: nnx.Module, place: int) -> Any:
    """One layer of a block whose parameters have a leading layer axis."""
    graphdef, layers = nnx.split(blocks)
    return nnx.merge(graphdef, jax.tree.map(lambda p: p[place], layers))


def next_in_layers(
    blocks: nnx.Module, x: Float[Array, "n 1 w"], cache: Any, *, unroll: int, **inputs: Any
) -> tuple[Float[Array, "n 1 w"], Any]:
    """One token through all layers by their method `next`, and their caches with it.

    Args:
        blocks: a block whose parameters have a leading layer axis.
        x: the token.
        cache: any pytree whose leaves have a leading layer axis; a layer gets its part.
        unroll: as in `Layers`.
        **inputs: what every block gets besides.
    """
    graphdef, layers = nnx.split(blocks)

    def step(x, layer_and_cache):
        layer, cache = layer_and_cache
        block: Any = nnx.merge(graphdef, layer)
        return block.next(x, cache, **inputs)

    return jax.lax.scan(step, x, (layers, cache), unroll=unroll)
