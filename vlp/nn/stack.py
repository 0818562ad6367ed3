"""A stack of equal transformer blocks, stored as one block with a leading depth axis."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from vlp.nn.attention import KeyValue, Mask
from vlp.nn.block import Block

REMAT = {
    "none": None,
    "full": jax.checkpoint_policies.nothing_saveable,
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
}


class Layers(nnx.Module):
    """`depth` equal blocks run by `jax.lax.scan`; every parameter of `blocks` is `[depth, ...]`.

    Args:
        make: one block, from random numbers.
        depth: how many.
        remat: what the backward pass recomputes: "none", "full" (keep the input of each block
            only), or "dots" (keep the outputs of the large matrix products).
        unroll: how many blocks one iteration of the scan holds.

    Raises:
        ValueError: when `remat` is unknown or `depth` or `unroll` is under 1.
    """

    def __init__(
        self,
        make: Callable[[nnx.Rngs], nnx.Module],
        depth: int,
        *,
        remat: str = "none",
        unroll: int = 1,
        rngs: nnx.Rngs,
    ):
        _check(depth, remat=remat, unroll=unroll)
        self.depth = depth
        self.remat = remat
        self.unroll = min(unroll, depth)
        self.blocks: Any = repeated(make, depth, rngs=rngs)

    def through(self, x: Float[Array, "n l w"], **inputs: Any) -> Float[Array, "n l w"]:
        """The sequence behind all blocks, each of which gets the inputs besides."""
        return through_layers(self.blocks, x, remat=self.remat, unroll=self.unroll, **inputs)

    def outputs(self, x: Float[Array, "n l w"], **inputs: Any) -> Float[Array, "depth n l w"]:
        """What leaves each block."""
        apply, layers = _layer_function(
            self.blocks, remat=self.remat, unroll=self.unroll, inputs=inputs
        )

        def step(x, layer):
            y = apply(layer, x)
            return y, y

        return jax.lax.scan(step, x, layers, unroll=self.unroll)[1]


def repeated(make: Callable[[nnx.Rngs], nnx.Module], depth: int, *, rngs: nnx.Rngs) -> nnx.Module:
    """One block whose parameters have a leading axis of `depth`, random numbers for each."""
    return nnx.vmap(lambda key: make(nnx.Rngs(key)))(jax.random.split(rngs.params(), depth))


class Stack(Layers):
    """A stack of `vlp.nn.block.Block`, which see for the settings.

    Raises:
        ValueError: as `Layers`.
    """

    def __init__(
        self,
        width: int,
        depth: int,
        *,
        mlp_dim: int,
        num_heads: int,
        causal: bool = False,
        activation: str = "gelu",
        norm_eps: float = 1e-6,
        norm_order: str = "pre",
        layer_scale: float | None = None,
        attention: str = "einsum",
        remat: str = "none",
        unroll: int = 1,
        dtype: str = "float32",
        rngs: nnx.Rngs,
    ):
        def make(rngs):
            return Block(
                width,
                mlp_dim=mlp_dim,
                num_heads=num_heads,
                depth=depth,
                causal=causal,
                activation=activation,
                norm_eps=norm_eps,
                norm_order=norm_order,
                layer_scale=layer_scale,
                attention=attention,
                dtype=dtype,
                rngs=rngs,
            )

        super().__init__(make, depth, remat=remat, unroll=unroll, rngs=rngs)

    def __call__(
        self, x: Float[Array, "n l w"], *, mask: Mask | None = None
    ) -> Float[Array, "n l w"]:
        return self.through(x, mask=mask)

    def hidden_states(
        self, x: Float[Array, "n l w"], *, mask: Mask | None = None
    ) -> Float[Array, "states n l w"]:
        """The input and the output of every block, `[depth + 1, n, l, w]`."""
        return jnp.concatenate([x[None], self.outputs(x, mask=mask)])

    def next(
        self, x: Float[Array, "n 1 w"], cache: KeyValue, *, position: Int[Array, ""]
    ) -> tuple[Float[Array, "n 1 w"], KeyValue]:
        """One token more of a causal sequence, and the cache with it; see `SelfAttention.next`."""
        return next_in_layers(self.blocks, x, cache, unroll=self.unroll, position=position)


def through_layers(
    blocks: nnx.Module, x: Float[Array, "n l w"], *, remat: str, unroll: int, **inputs: Any
) -> Float[Array, "n l w"]:
    """The sequence behind all layers.

    Args:
        blocks: a block whose parameters have a leading layer axis.
        x: what enters the first layer.
        remat, unroll: as in `Layers`.
        **inputs: what every block gets besides.
    """
    apply, layers = _layer_function(blocks, remat=remat, unroll=unroll, inputs=inputs)
    x, _ = jax.lax.scan(lambda x, layer: (apply(layer, x), None), x, layers, unroll=unroll)
    return x


def _layer_function(
    blocks: nnx.Module, *, remat: str, unroll: int, inputs: dict[str, Any]
) -> tuple[Callable, nnx.State]:
    """One layer as a function `(layer, x) -> x` for `jax.lax.scan`, and the stacked layers."""
    graphdef, layers = nnx.split(blocks)

    def apply(layer, x):
        return nnx.merge(graphdef, layer)(x, **inputs)

    if remat != "none":
        # Inside a loop the compiler cannot merge the recomputation with the forward pass, so the
        # guard against that is needed only for unrolled blocks.
        apply = jax.checkpoint(apply, policy=REMAT[remat], prevent_cse=unroll > 1)
    return apply, layers


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


def _check(depth: int, *, remat: str, unroll: int) -> None:
    if remat not in REMAT:
        raise ValueError(f"remat must be one of {', '.join(REMAT)}, got {remat!r}")
    if depth < 1 or unroll < 1:
        raise ValueError(f"depth and unroll must be at least 1, got {depth} and {unroll}")
