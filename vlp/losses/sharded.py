"""The softmax and sigmoid losses for one shard of the batch, inside `jax.shard_map`.

Device p holds n of the N = K n pairs. Two forms of each loss give the values of the dense one:

Gathered: all texts come to every device, which then has n rows of the logits, `[n, N]`. Rows are
normalised locally; the columns' sums of exponentials are added up across devices. Plain autodiff.

Ring: texts travel from device to device and meet all images in K steps; no more than one tile
`[tile, tile]` of the logits exists at a time. With the logits S, rows i (images) and columns j
(texts), everything but a pair's own logit, which is local, comes from two reductions,

    r_i = log sum_j exp S_ij,   c_j = log sum_i exp S_ij        (softmax)
    b_i = sum_j softplus S_ij                                   (sigmoid)

accumulated tile by tile: r_i and b_i stay with the images, c_j travels with its texts and is
complete when they are home. Given the cotangents r', c' and b' of these, the gradient of a tile is

    dS_ij = r'_i exp(S_ij - r_i) + c'_j exp(S_ij - c_j)         (softmax)
    dS_ij = b'_i sigmoid(S_ij)                                  (sigmoid)

so the backward pass is one more trip around the ring: it recomputes S, adds dS z_txt to the images'
gradients, which stay, and dS^T z_img to the texts' gradients, which travel. One tile serves both
directions, so the cost is 8 N^2 d / K operations a device, and memory is O(n d). Autodiff through
the loop would keep every tile; hence the custom derivatives.

Embeddings travel, and enter the matrix products, in their own dtype; sums are float32.

References:
    Zhai et al., 2023, https://arxiv.org/abs/2303.15343, section 3.3 (the ring for the sigmoid);
    Cheng et al., 2024 (Inf-CL), https://arxiv.org/abs/2410.17243 (tiles and ring for the softmax).
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from vlp.losses.ring import AxisName, around_the_ring
from vlp.losses.softmax import MASKED, cosines, own_cross_entropy

DEFAULT_TILE = 2048


def gathered_softmax_loss(
    zimg: Float[Array, "n d"],
    ztxt: Float[Array, "n d"],
    *,
    axis_name: AxisName,
    scale: Float[Array, ""] | float,
    weight: Float[Array, " n"] | None = None,
) -> Float[Array, " n"]:
    """`softmax_loss` of this shard's pairs against those of all shards of `axis_name`."""
    present = _present(zimg, weight)
    everyone = _gather(present, axis_name)
    logits = scale * cosines(zimg, _gather(ztxt, axis_name))
    logits = jnp.where(present[:, None] & everyone[None, :], logits, MASKED)
    over_texts = jax.nn.logsumexp(logits, axis=1)
    top = jax.lax.pmax(jax.lax.stop_gradient(jnp.max(logits, axis=0)), axis_name)
    sums = jnp.sum(jnp.exp(logits - top[None, :]), axis=0)
    sums = jax.lax.psum_scatter(sums, axis_name, tiled=True)
    over_images = jnp.log(sums) + _own_part(top, zimg.shape[0], axis_name)
    loss = own_cross_entropy(scale * _own_cosines(zimg, ztxt), over_texts, over_images)
    return jnp.where(present, loss, 0.0)


def gathered_sigmoid_loss(
    zimg: Float[Array, "n d"],
    ztxt: Float[Array, "n d"],
    *,
    axis_name: AxisName,
    scale: Float[Array, ""] | float,
    bias: Float[Array, ""] | float,
    weight: Float[Array, " n"] | None = None,
) -> Float[Array, " n"]:
    """`sigmoid_loss` of this shard's images against the texts of all shards of `axis_name`."""
    present = _present(zimg, weight)
    logits = scale * cosines(zimg, _gather(ztxt, axis_name)) + bias
    losses = jnp.where(_gather(present, axis_name)[None, :], jax.nn.softplus(logits), 0.0)
    own = scale * _own_cosines(zimg, ztxt) + bias
    return jnp.where(present, jnp.sum(losses, axis=1) - own, 0.0)


def ring_softmax_loss(
    zimg: Float[Array, "n d"],
    ztxt: Float[Array, "n d"],
    *,
    axis_name: AxisName,
    scale: Float[Array, ""] | float,
    weight: Float[Array, " n"] | None = None,
    tile: int = DEFAULT_TILE,
) -> Float[Array, " n"]:
    """`softmax_loss` of this shard's pairs against those of all shards, tile by tile.

    Args:
        tile: rows and columns of the piece of the logits that is held at a time.
    """
    present = _present(zimg, weight)
    scale = jax.lax.pcast(jnp.asarray(scale, jnp.float32), axis_name, to="varying")
    over_texts, over_images = _logsumexps(zimg, ztxt, scale, present, axis_name, tile)
    loss = own_cross_entropy(scale * _own_cosines(zimg, ztxt), over_texts, over_images)
    return jnp.where(present, loss, 0.0)


def ring_sigmoid_loss(
    zimg: Float[Array, "n d"],
    ztxt: Float[Array, "n d"],
    *,
    axis_name: AxisName,
    scale: Float[Array, ""] | float,
    bias: Float[Array, ""] | float,
    weight: Float[Array, " n"] | None = None,
    tile: int = DEFAULT_TILE,
) -> Float[Array, " n"]:
    """`sigmoid_loss` of this shard's images against the texts of all shards, tile by tile.

    Args:
        tile: rows and columns of the piece of the logits that is held at a time.
    """
    present = _present(zimg, weight)
    scale = jax.lax.pcast(jnp.asarray(scale, jnp.float32), axis_name, to="varying")
    bias = jax.lax.pcast(jnp.asarray(bias, jnp.float32), axis_name, to="varying")
    sums = _softplus_sums(zimg, ztxt, scale, bias, present, axis_name, tile)
    # softplus(-x) = softplus(x) - x turns the own text's term into that of a positive.
    own = scale * _own_cosines(zimg, ztxt) + bias
    return jnp.where(present, sums - own, 0.0)


# The two reductions over everyone's logits, with their derivatives.


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def _logsumexps(zimg, ztxt, scale, present, axis_name, tile):
    """Of each local image over all texts, and of each local text over all images."""
    return _logsumexps_forward(zimg, ztxt, scale, present, axis_name, tile)[0]


def _logsumexps_forward(zimg, ztxt, scale, present, axis_name, tile):
    def visit(row, column, over_texts, over_images):
        logits = _masked_logits(row[0], row[1], column[0], column[1], scale)
        return _add_exponentials(over_texts, logits, 1), _add_exponentials(over_images, logits, 0)

    nothing = jnp.zeros((zimg.shape[0],), jnp.float32)
    start = (nothing + MASKED, nothing)
    sums = around_the_ring(
        visit, (zimg, present), (ztxt, present), start, start, axis_name=axis_name, tile=tile
    )
    over_texts, over_images = (top + jnp.log(total) for top, total in sums)
    return (over_texts, over_images), (zimg, ztxt, scale, present, over_texts, over_images)


def _add_exponentials(state, logits, axis):
    """Adds one tile to sums of exponentials, kept relative to the largest logit so far.

    A running maximum and sum round once a tile where a running log-sum-exp would do so in units
    of the logarithm, which is up to 100.
    """
    top, total = state
    new_top = jnp.maximum(top, jnp.max(logits, axis=axis))
    exponentials = jnp.exp(logits - jnp.expand_dims(new_top, axis))
    return new_top, total * jnp.exp(top - new_top) + jnp.sum(exponentials, axis=axis)


def _logsumexps_backward(axis_name, tile, saved, cotangents):
    zimg, ztxt, scale, present, over_texts, over_images = saved

    def visit(row, column, to_images, to_texts):
        zi, row_present, row_lse, row_grad = row
        zt, column_present, column_lse, column_grad = column
        logits = _masked_logits(zi, row_present, zt, column_present, scale)
        # Absent pairs need no mask: their cotangents are zero and so is exp(MASKED - lse).
        dlogits = row_grad[:, None] * jnp.exp(logits - row_lse[:, None])
        dlogits = dlogits + column_grad[None, :] * jnp.exp(logits - column_lse[None, :])
        return to_images + _dot(dlogits, zt), to_texts + _dot(dlogits.T, zi)

    to_images, to_texts = around_the_ring(
        visit,
        (zimg, present, over_texts, cotangents[0]),
        (ztxt, present, over_images, cotangents[1]),
        jnp.zeros(zimg.shape, jnp.float32),
        jnp.zeros(ztxt.shape, jnp.float32),
        axis_name=axis_name,
        tile=tile,
    )
    return *_input_gradients(zimg, ztxt, scale, to_images, to_texts), None


_logsumexps.defvjp(_logsumexps_forward, _logsumexps_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(5, 6))
def _softplus_sums(zimg, ztxt, scale, bias, present, axis_name, tile):
    """Of each local image over the logits of all texts."""
    return _softplus_sums_forward(zimg, ztxt, scale, bias, present, axis_name, tile)[0]


def _softplus_sums_forward(zimg, ztxt, scale, bias, present, axis_name, tile):
    def visit(row, column, sums, _):
        logits = _masked_logits(row[0], row[1], column[0], column[1], scale, bias)
        return sums + jnp.sum(jax.nn.softplus(logits), axis=1), ()

    start = jnp.zeros((zimg.shape[0],), jnp.float32)
    sums, _ = around_the_ring(
        visit, (zimg, present), (ztxt, present), start, (), axis_name=axis_name, tile=tile
    )
    return sums, (zimg, ztxt, scale, bias, present)


def _softplus_sums_backward(axis_name, tile, saved, cotangent):
    zimg, ztxt, scale, bias, present = saved

    def visit(row, column, row_state, to_texts):
        (zi, row_present, row_grad), (zt, column_present) = row, column
        to_images, to_bias = row_state
        logits = _masked_logits(zi, row_present, zt, column_present, scale, bias)
        dlogits = row_grad[:, None] * jax.nn.sigmoid(logits)
        to_images = to_images + _dot(dlogits, zt)
        to_bias = to_bias + jnp.sum(dlogits, axis=1)
        return (to_images, to_bias), to_texts + _dot(dlogits.T, zi)

    (to_images, to_bias), to_texts = around_the_ring(
        visit,
        (zimg, present, cotangent),
        (ztxt, present),
        (jnp.zeros(zimg.shape, jnp.float32), jnp.zeros(cotangent.shape, jnp.float32)),
        jnp.zeros(ztxt.shape, jnp.float32),
        axis_name=axis_name,
        tile=tile,
    )
    gradients = _input_gradients(zimg, ztxt, scale, to_images, to_texts)
    return *gradients, jnp.sum(to_bias), None


_softplus_sums.defvjp(_softplus_sums_forward, _softplus_sums_backward)


def _input_gradients(zimg, ztxt, scale, to_images, to_texts):
    """Gradients of zimg, ztxt and scale from `dS z_txt` and `dS^T z_img`."""
    dscale = jnp.sum(zimg.astype(jnp.float32) * to_images)
    return (scale * to_images).astype(zimg.dtype), (scale * to_texts).astype(ztxt.dtype), dscale


def _masked_logits(zi, row_present, zt, column_present, scale, bias=0.0):
    """One tile of the logits; MASKED where image or text is absent."""
    logits = scale * _dot(zi, zt.T) + bias
    return jnp.where(row_present[:, None] & column_present[None, :], logits, MASKED)


def _dot(a, b):
    """Matrix product with operands in the dtype of `b` and float32 sums."""
    return jnp.matmul(
        a.astype(b.dtype),
        b,
        precision=jax.lax.Precision.HIGHEST,
        preferred_element_type=jnp.float32,
    )


def _present(zimg: Float[Array, "n d"], weight: Float[Array, " n"] | None) -> Bool[Array, " n"]:
    # Without weights too it must vary over devices, as what is gathered or travels has to.
    return jnp.ones_like(zimg[:, 0], bool) if weight is None else weight > 0


def _gather(x: Array, axis_name: AxisName) -> Array:
    return jax.lax.all_gather(x, axis_name, tiled=True)


def _own_part(x: Float[Array, " m"], n: int, axis_name: AxisName) -> Float[Array, " n"]:
    return jax.lax.dynamic_slice_in_dim(x, jax.lax.axis_index(axis_name) * n, n)


def _own_cosines(zimg: Float[Array, "n d"], ztxt: Float[Array, "n d"]) -> Float[Array, " n"]:
    return jnp.sum(zimg.astype(jnp.float32) * ztxt.astype(jnp.float32), axis=1)
