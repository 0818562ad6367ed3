"""Multi-head attention over short sequences: images of patches and captions."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from vlp.nn.edges import apart
from vlp.nn.flash import cudnn_attention, splash_attention, xla_attention
from vlp.nn.implementation import Needs, check_implementation, chosen
from vlp.nn.linear import Linear
from vlp.nn.masks import MASKED, Mask, of_pairs, visible


class KeyValue(NamedTuple):
    """Keys and values of a sequence, kept so that later tokens need not compute them again.

    Those of a whole stack have an axis of layers in front.
    """

    key: Float[Array, "*layers n s h k"]
    value: Float[Array, "*layers n s h k"]


class DecoderCache(NamedTuple):
    """What is kept from token to token of a sequence that reads another.

    Attributes:
        own: of the sequence itself.
        context: of what it reads.
    """

    own: KeyValue
    context: KeyValue


class SelfAttention(nnx.Module):
    """Multi-head self-attention with queries, keys and values from one fused projection.

    `qkv.kernel` is `[w, 3 w]`: columns are query, key, value, each `[heads, head width]` in row
    order, so a third of it, transposed, is the `[out, in]` matrix of other stacks.

    Raises:
        ValueError: when the width does not divide by the heads or the implementation is unknown.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        *,
        causal: bool = False,
        out_std: float,
        implementation: str = "einsum",
        dtype: str = "float32",
        rngs: nnx.Rngs,
    ):
        check_heads(width, num_heads)
        check_implementation(implementation, dtype=dtype)
        self.num_heads = num_heads
        self.causal = causal
        self.implementation = implementation
        self.qkv = Linear(width, 3 * width, std=width**-0.5, dtype=dtype, rngs=rngs)
        self.out = Linear(width, width, std=out_std, dtype=dtype, rngs=rngs)

    def __call__(
        self,
        x: Float[Array, "n l w"],
        *,
        mask: Mask | None = None,
        bias: Float[Array, "h l l"] | None = None,
    ) -> Float[Array, "n l w"]:
        query, key, value = self._heads(x)
        y = dot_product_attention(
            query,
            key,
            value,
            mask=mask,
            causal=self.causal,
            bias=bias,
            implementation=self.implementation,
        )
        return self.out(y.reshape(x.shape))

    def alone(self, x: Float[Array, "n l w"]) -> Float[Array, "n l w"]:
        """What each token would get if it saw itself alone: its own value."""
        return self.out(self.qkv.split(x, 3)[2])

    def next(
        self, x: Float[Array, "n 1 w"], cache: KeyValue, *, position: Int[Array, ""]
    ) -> tuple[Float[Array, "n 1 w"], KeyValue]:
        """One token more of a causal sequence, and the cache with it.

        Args:
            x: the token.
            cache: of all positions of the sequence; those behind `position` are not looked at.
            position: of the token, from 0.
        """
        query, key, value = self._heads(x)
        cache = KeyValue(
            jax.lax.dynamic_update_slice_in_dim(cache.key, key, position, axis=1),
            jax.lax.dynamic_update_slice_in_dim(cache.value, value, position, axis=1),
        )
        earlier = jnp.arange(cache.key.shape[1]) <= position
        # A single query leaves nothing for the other implementations to save.
        y = dot_product_attention(query, *cache, mask=earlier[None, None, None, :])
        return self.out(y.reshape(x.shape)), cache

    def keys(self, x: Float[Array, "n l w"]) -> KeyValue:
        """The keys and values of tokens, for those that come later; see `next`."""
        return KeyValue(*self._heads(x)[1:])

    def _heads(self, x: Float[Array, "n l w"]) -> list[Float[Array, "n l h k"]]:
        """Query, key and value."""
        n, length, _ = x.shape
        return [part.reshape(n, length, self.num_heads, -1) for part in self.qkv.split(x, 3)]


def empty_cache(attention: SelfAttention, *, depth: int, n: int, length: int) -> KeyValue:
    """Room for the keys and values of `length` tokens in a stack of such layers.

    Args:
        attention: that of a stack: its parameters have a leading layer axis.
        depth: layers.
        n: sequences.
        length: positions of each.
    """
    width = attention.out.kernel.shape[-1]
    shape = (depth, n, length, attention.num_heads, width // attention.num_heads)
    return KeyValue(*(jnp.zeros(shape, jnp.dtype(attention.qkv.dtype)) for _ in range(2)))


def dot_product_attention(
    query: Float[Array, "n q h k"],
    key: Float[Array, "n s h k"],
    value: Float[Array, "n s h k"],
    *,
    mask: Mask | None = None,
    causal: bool = False,
    bias: Float[Array, "h q s"] | None = None,
    implementation: str = "einsum",
) -> Float[Array, "n q h k"]:
    """Softmax-weighted values, with the softmax in float32.

    A query that may see no key gets the mean of all values; by "cudnn" and "splash" any mixture of
    them (by a length of 0: the first).

    Args:
        query, key, value: per-head vectors; the scale `k ** -0.5` is applied here.
        mask: which keys a query may see, see `Mask`.
        causal: query i sees no key behind the i-th, whatever the mask says.
        bias: added to the logits of all sequences; nothing is if not given.
        implementation: "einsum" is written out below and is exact everywhere; "xla" is that of
            `jax.nn.dot_product_attention`; "cudnn" and "splash" are flash attention on NVIDIA GPUs
            and on TPUs, see `vlp.nn.flash`; "auto" is what `vlp.nn.implementation.chosen` finds
            for the devices at hand.
    """
    query, key, value = (apart(x, axis=2) for x in (query, key, value))
    needs = Needs(
        queries=query.shape[1],
        head_width=query.shape[3],
        dtype=query.dtype.name,
        pairs=of_pairs(mask),
        bias=bias is not None,
    )
    flash = FLASH.get(chosen(implementation, needs))
    if flash is not None:
        return flash(query, key, value, mask=mask, causal=causal, bias=bias)
    mask = visible(mask, causal=causal, queries=query.shape[1], keys=key.shape[1])
    # Heads to the front: then these are plain matrix products, 1.5 times as fast on CPUs.
    query, key, value = (x.transpose(0, 2, 1, 3) for x in (query, key, value))
    query = query * query.shape[-1] ** -0.5
    logits = jnp.einsum("nhqk,nhsk->nhqs", query, key, preferred_element_type=jnp.float32)
    if bias is not None:
        logits = logits + bias[None]
    if mask is not None:
        logits = jnp.where(mask, logits, MASKED)
    weights = jax.nn.softmax(logits, axis=-1).astype(value.dtype)
    return jnp.einsum("nhqs,nhsk->nhqk", weights, value).transpose(0, 2, 1, 3)


FLASH: dict[str, Callable[..., Any]] = {
    "xla": xla_attention,
    "cudnn": cudnn_attention,
    "splash": splash_attention,
}


def check_heads(width: int, num_heads: int) -> None:
    """Raises ValueError when the width does not divide by the number of heads."""
    if width % num_heads:
        fits = [h for h in range(1, width + 1) if width % h == 0 and width // h >= 16]
        raise ValueError(f"num_heads must divide width {width}, got {num_heads}; try one of {fits}")
