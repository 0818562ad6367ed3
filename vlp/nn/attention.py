"""Multi-head attention over short sequences: images of patches and captions."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from vlp.nn.linear import Linear

IMPLEMENTATIONS = ("einsum", "xla", "cudnn")
_MASKED = -1e30  # finite, so that a row without any visible key gives no NaN


class KeyValue(NamedTuple):
    """Keys and values of a sequence, kept so that later tokens need not compute them again.

    Those of a whole stack have an axis of layers in front.
    """

    key: Float[Array, "*layers n s h k"]
    value: Float[Array, "*layers n s h k"]


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
        check_implementation(implementation)
        self.num_heads = num_heads
        self.causal = causal
        self.implementation = implementation
        self.qkv = Linear(width, 3 * width, std=width**-0.5, dtype=dtype, rngs=rngs)
        self.out = Linear(width, width, std=out_std, dtype=dtype, rngs=rngs)

    def __call__(
        self,
        x: Float[Array, "n l w"],
        *,
        present: Bool[Array, "n l"] | None = None,
        bias: Float[Array, "h l l"] | None = None,
    ) -> Float[Array, "n l w"]:
        query, key, value = self._heads(x)
        y = dot_product_attention(
            query,
            key,
            value,
            mask=attention_mask(x.shape[1], causal=self.causal, present=present),
            bias=bias,
            implementation=self.implementation,
        )
        return self.out(y.reshape(x.shape))

    def next(
        self, x: Float[Array, "n 1 w"], cache: KeyValue, *, place: Int[Array, ""]
    ) -> tuple[Float[Array, "n 1 w"], KeyValue]:
        """One token more of a causal sequence, and the cache with it.

        Args:
            x: the token.
            cache: of all places of the sequence; those behind `place` are not looked at.
            place: of the token, from 0.
        """
        query, key, value = self._heads(x)
        cache = KeyValue(
            jax.lax.dynamic_update_slice_in_dim(cache.key, key, place, axis=1),
            jax.lax.dynamic_update_slice_in_dim(cache.value, value, place, axis=1),
        )
        earlier = jnp.arange(cache.key.shape[1]) <= place
        # A single query leaves nothing for the other implementations to save.
        y = dot_product_attention(query, *cache, mask=earlier[None, None, None, :])
        return self.out(y.reshape(x.shape)), cache

    def _heads(self, x: Float[Array, "n l w"]) -> list[Float[Array, "n l h k"]]:
        """Query, key and value."""
        n, length, _ = x.shape
        parts = jnp.split(self.qkv(x), 3, -1)
        return [part.reshape(n, length, self.num_heads, -1) for part in parts]


def empty_cache(attention: SelfAttention, *, depth: int, n: int, length: int) -> KeyValue:
    """Room for the keys and values of `length` tokens in a stack of such layers.

    Args:
        attention: that of a stack: its parameters have a leading layer axis.
        depth: layers.
        n: sequences.
        length: places of each.
    """
    width = attention.out.kernel.shape[-1]
    shape = (depth, n, length, attention.num_heads, width // attention.num_heads)
    return KeyValue(*(jnp.zeros(shape, jnp.dtype(attention.qkv.dtype)) for _ in range(2)))


def attention_mask(
    length: Any, *, causal: bool, present: Bool[Array, "n l"] | None
) -> Bool[Array, "_ 1 _ l"] | None:
    """What each query may see: earlier tokens when causal, keys that are no padding; or None.

    `length` is an integer, or a symbolic dimension where a tower is exported.
    """
    mask = None if present is None else present[:, None, None, :]
    if not causal:
        return mask
    earlier = jnp.tril(jnp.ones((1, 1, length, length), bool))
    return earlier if mask is None else earlier & mask


def dot_product_attention(
    query: Float[Array, "n q h k"],
    key: Float[Array, "n s h k"],
    value: Float[Array, "n s h k"],
    *,
    mask: Bool[Array, "_ 1 _ s"] | None = None,
    bias: Float[Array, "h q s"] | None = None,
    implementation: str = "einsum",
) -> Float[Array, "n q h k"]:
    """Softmax-weighted values, with the softmax in float32.

    Args:
        query, key, value: per-head vectors; the scale `k ** -0.5` is applied here.
        mask: True where a query may see a key.
        bias: added to the logits of all sequences; nothing is if not given.
        implementation: "einsum" is written out below and is exact everywhere; "xla" and "cudnn"
            are those of `jax.nn.dot_product_attention` ("cudnn": flash attention on NVIDIA GPUs,
            bfloat16 only).
    """
    if implementation != "einsum":
        flash: Any = jax.nn.dot_product_attention  # its annotation names the two literals only
        added = None if bias is None else bias[None]
        return flash(query, key, value, bias=added, mask=mask, implementation=implementation)
    # Heads to the front: then these are plain matrix products, 1.5 times as fast on CPUs.
    query, key, value = (x.transpose(0, 2, 1, 3) for x in (query, key, value))
    query = query * query.shape[-1] ** -0.5
    logits = jnp.einsum("nhqk,nhsk->nhqs", query, key, preferred_element_type=jnp.float32)
    if bias is not None:
        logits = logits + bias[None]
    if mask is not None:
        logits = jnp.where(mask, logits, _MASKED)
    weights = jax.nn.softmax(logits, axis=-1).astype(value.dtype)
    return jnp.einsum("nhqs,nhsk->nhqk", weights, value).transpose(0, 2, 1, 3)


def check_heads(width: int, num_heads: int) -> None:
    """Raises ValueError when the width does not divide by the number of heads."""
    if width % num_heads:
        fits = [h for h in range(1, width + 1) if width % h == 0 and width // h >= 16]
        raise ValueError(f"num_heads must divide width {width}, got {num_heads}; try one of {fits}")


def check_implementation(implementation: str) -> None:
    """Raises ValueError when there is no such attention implementation."""
    if implementation not in IMPLEMENTATIONS:
        raise ValueError(
            f"attention must be one of {', '.join(IMPLEMENTATIONS)}, got {implementation!r}"
        )
