"""Attention by kernels that never build the weights of all queries and keys.

What they cannot do, `vlp.nn.implementation` keeps from them. Sequences are filled up to lengths
that they take; what is filled in no query sees, and queries that are filled in are cut off again.
"""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from vlp.nn.edges import by_heads
from vlp.nn.masks import Mask, visible

_LANES = 128  # of a TPU: blocks of queries and keys are multiples
_MOST = 512  # queries or keys of a block, of what is held in a core's own memory


def xla_attention(
    query: Float[Array, "n q h k"],
    key: Float[Array, "n s h k"],
    value: Float[Array, "n s h k"],
    *,
    mask: Mask | None,
    causal: bool,
    bias: Float[Array, "h q s"] | None,
    implementation: Literal["xla", "cudnn"] = "xla",
) -> Float[Array, "n q h k"]:
    """The attention of `jax.nn`, which is told of causality and lengths as such."""
    lengths = None
    if mask is not None and mask.ndim == 1:
        lengths, mask = mask.astype(jnp.int32), None
    elif mask is not None:
        mask = visible(mask, queries=query.shape[1], keys=key.shape[1])
    return jax.nn.dot_product_attention(
        query,
        key,
        value,
        bias=None if bias is None else bias[None],
        mask=mask,
        is_causal=causal,
        key_value_seq_lengths=lengths,
        implementation=implementation,
    )


def cudnn_attention(
    query: Float[Array, "n q h k"],
    key: Float[Array, "n s h k"],
    value: Float[Array, "n s h k"],
    *,
    mask: Mask | None,
    causal: bool,
    bias: Float[Array, "h q s"] | None,
) -> Float[Array, "n q h k"]:
    """cuDNN's flash attention, which trains for even numbers of queries and keys.

    It never builds what causality and lengths hide; other masks are a bias to it, `[n 1 q s]`.

    References:
        https://docs.nvidia.com/deeplearning/cudnn/frontend/latest/operations/Attention.html.
    """
    queries, keys = query.shape[1], key.shape[1]
    q, s = queries % 2, keys % 2
    if mask is None and s and not (causal and queries == keys):
        mask = jnp.full((query.shape[0],), keys, jnp.int32)
    if mask is not None and mask.ndim == 1:
        mask = jnp.maximum(mask, 1)  # cuDNN promises no numbers where there is no key
    elif mask is not None:
        # It takes no axes of 1.
        pairs: Any = visible(mask, queries=queries, keys=keys)
        pairs = jnp.broadcast_to(pairs, (*pairs.shape[:2], queries, keys))
        mask = jnp.pad(pairs, ((0, 0), (0, 0), (0, q), (0, s)))
    if bias is not None:
        bias = jnp.pad(bias.astype(query.dtype), ((0, 0), (0, q), (0, s)))
    y = xla_attention(
        _filled(query, q),
        _filled(key, s),
        _filled(value, s),
        mask=mask,
        causal=causal,
        bias=bias,
        implementation="cudnn",
    )
    return y[:, :queries]


def splash_attention(
    query: Float[Array, "n q h k"],
    key: Float[Array, "n s h k"],
    value: Float[Array, "n s h k"],
    *,
    mask: Mask | None,
    causal: bool,
    bias: None,
) -> Float[Array, "n q h k"]:
    """The splash attention of JAX's Pallas, for TPUs: a device attends for its own rows and heads.

    References:
        `jax.experimental.pallas.ops.tpu.splash_attention`; Dao, 2023 (FlashAttention-2),
        https://arxiv.org/abs/2307.08691.
    """
    queries, keys = query.shape[1], key.shape[1]
    q, s = -queries % _LANES, -keys % _LANES
    seen = visible(mask, queries=queries, keys=keys)
    seen = jnp.ones((1, 1, 1, keys), bool) if seen is None else seen
    seen = jnp.broadcast_to(seen[:, 0, 0], (query.shape[0], keys))
    seen = seen | ~jnp.any(seen, axis=1, keepdims=True)  # its softmax needs a key
    seen = jnp.pad(seen, ((0, 0), (0, s)))

    def attend(arrays: tuple[Array, ...], seen: Array) -> Array:
        query, key, value = arrays
        kernel = _splash(query.shape[1], query.shape[2], key.shape[1], causal=causal)
        # Heads in front; keys of segment 0 are for all queries.
        query, key, value = (x.transpose(0, 2, 1, 3) for x in (query, key, value))
        return jax.vmap(kernel)(query, key, value, _segments(query, seen)).transpose(0, 2, 1, 3)

    query = query * query.shape[-1] ** -0.5
    y = by_heads(attend)((_filled(query, q), _filled(key, s), _filled(value, s)), seen)
    return y[:, :queries]


def _splash(queries: int, heads: int, keys: int, *, causal: bool) -> Any:
    """The kernel for so many queries, heads and keys."""
    from jax.experimental.pallas.ops.tpu import splash_attention as splash  # takes long to import

    shape = splash.CausalMask if causal else splash.FullMask
    mask = splash.MultiHeadMask([shape((queries, keys)) for _ in range(heads)])
    q, s = _block(queries), _block(keys)
    sizes = splash.BlockSizes(
        block_q=q,
        block_kv=s,
        block_q_dkv=q,
        block_kv_dkv=s,
        block_q_dq=q,
        block_kv_dq=s,
    )
    return splash.make_splash_mha_single_device(mask=mask, block_sizes=sizes)


def _segments(query: Float[Array, "n h q k"], seen: Bool[Array, "n s"]) -> Any:
    """Queries, all of segment 0, and keys: of 0 what they see, of 1 what no query does."""
    from jax.experimental.pallas.ops.tpu.splash_attention import SegmentIds

    n, _, queries, _ = query.shape
    return SegmentIds(jnp.zeros((n, queries), jnp.int32), jnp.where(seen, 0, 1))


def _block(length: int) -> int:
    """The largest block that divides a length."""
    return max(size for size in range(_LANES, _MOST + 1, _LANES) if length % size == 0)


def _filled(x: Float[Array, "n l h k"], more: int) -> Float[Array, "n _ h k"]:
    return jnp.pad(x, ((0, 0), (0, more), (0, 0), (0, 0))) if more else x
