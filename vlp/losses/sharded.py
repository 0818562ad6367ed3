"""The softmax and sigmoid losses for one shard of the batch, tile by tile, inside `jax.shard_map`.

Device p holds n of the N = K n pairs. Texts travel from device to device and meet all images in K
steps; no more than one tile `[tile, tile]` of the logits exists at a time. With the logits S, rows
i (images) and columns j (texts), everything but a pair's own logit, which is local, comes from two
reductions,

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

Where the pairs of a group belong together, T_ij is 1 (sigmoid) or 1 over the size of the group
(softmax) for two of one group, else 0; then sum_j T_ij S_ij is taken off r_i and b_i, and the like
off c_j, and T_ij off the factors of r', c' and b'.

Embeddings travel, and enter the matrix products, in their own dtype; sums are float32, but that
the gradients of texts may be rounded to travel. Through
another similarity than the inner product a tile's gradients are found by JAX; where images see
texts otherwise than texts see images, r is of the one matrix and c of the other.

References:
    Zhai et al., 2023, https://arxiv.org/abs/2303.15343, section 3.3 (the ring for the sigmoid);
    Cheng et al., 2024 (Inf-CL), https://arxiv.org/abs/2410.17243 (tiles and ring for the softmax).
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from vlp.losses.ring import AxisName, Ring, around_the_ring, present_pairs
from vlp.losses.similarity import (
    MASKED,
    Embeddings,
    Tokens,
    mean_of,
    own_similarity,
    product,
    replaced,
    similarities,
    vectors,
)
from vlp.losses.softmax import own_cross_entropy

DEFAULT_TILE = 2048


def ring_softmax_loss(
    zimg: Embeddings,
    ztxt: Embeddings,
    *,
    axis_name: AxisName | None,
    scale: Float[Array, ""] | float,
    weight: Float[Array, " n"] | None = None,
    similarity: str = "dot",
    positives: Int[Array, " n"] | None = None,
    tile: int = DEFAULT_TILE,
    sums: str = "float32",
) -> Float[Array, " n"]:
    """`softmax_loss` of this shard's pairs against those of all shards, tile by tile.

    Args:
        similarity: a name, all of which grow with the length of the vectors; see
            `_input_gradients`.
        axis_name: None for all pairs on one device.
        tile: rows and columns of the piece of the logits that is held at a time.
        sums: dtype in which the gradients of texts travel, rounded once a device.
    """
    ring = Ring(axis_name, tile, sums)
    present = present_pairs(zimg, weight)
    scale = ring.varying(jnp.asarray(scale, jnp.float32))
    groups = None
    if positives is not None:
        groups = (positives, 1 / _group_sizes(present, positives, ring))
    who = (present, groups)
    over_texts, over_images = _entropies(zimg, ztxt, scale, who, ring, similarity)
    if positives is None:
        own = scale * own_similarity(similarity, zimg, ztxt)
    else:
        own = jnp.zeros_like(over_texts)
    return jnp.where(present, own_cross_entropy(own, over_texts, over_images), 0.0)


def ring_sigmoid_loss(
    zimg: Embeddings,
    ztxt: Embeddings,
    *,
    axis_name: AxisName | None,
    scale: Float[Array, ""] | float,
    bias: Float[Array, ""] | float,
    weight: Float[Array, " n"] | None = None,
    similarity: str = "dot",
    positives: Int[Array, " n"] | None = None,
    tile: int = DEFAULT_TILE,
    sums: str = "float32",
) -> Float[Array, " n"]:
    """`sigmoid_loss` of this shard's images against the texts of all shards, tile by tile.

    Args:
        axis_name, similarity, tile, sums: as in `ring_softmax_loss`.
    """
    ring = Ring(axis_name, tile, sums)
    present = present_pairs(zimg, weight)
    scale = ring.varying(jnp.asarray(scale, jnp.float32))
    bias = ring.varying(jnp.asarray(bias, jnp.float32))
    groups = None if positives is None else (positives, jnp.ones_like(present, jnp.float32))
    who = (present, groups)
    losses = _softplus_sums(zimg, ztxt, scale, bias, who, ring, similarity)
    if positives is None:
        # softplus(-x) = softplus(x) - x turns the own text's term into that of a positive.
        losses = losses - (scale * own_similarity(similarity, zimg, ztxt) + bias)
    return jnp.where(present, losses, 0.0)


# The two reductions over everyone's logits, with their derivatives. `who` are the pairs present
# and, where there are any, the groups and T of each.


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def _entropies(zimg, ztxt, scale, who, ring, similarity):
    """Of each local image over all texts, and of each local text over all images."""
    return _entropies_forward(zimg, ztxt, scale, who, ring, similarity)[0]


def _entropies_forward(zimg, ztxt, scale, who, ring, similarity):
    def visit(row, column, over_texts, over_images):
        ways, targets = _tile(similarity, row, column, scale)
        return _added(over_texts, ways[0], targets, 1), _added(over_images, ways[-1], targets, 0)

    nothing = jnp.zeros(who[0].shape, jnp.float32)
    start = (nothing + MASKED, nothing, None if who[1] is None else nothing)
    states = around_the_ring(visit, (zimg, who), (ztxt, who), start, start, ring=ring)
    sums = tuple(top + jnp.log(total) for top, total, _ in states)
    found = tuple(_less(x, mean) for x, (_, _, mean) in zip(sums, states, strict=True))
    return found, (zimg, ztxt, scale, who, sums)


def _added(state, logits, targets, axis):
    """Adds one tile to sums of exponentials, kept relative to the largest logit so far, and to the
    mean of the positives.

    A running maximum and sum round once a tile where a running log-sum-exp would do so in units
    of the logarithm, which is up to 100.
    """
    top, total, mean = state
    new_top = jnp.maximum(top, jnp.max(logits, axis=axis))
    exponentials = jnp.exp(logits - jnp.expand_dims(new_top, axis))
    total = total * jnp.exp(top - new_top) + jnp.sum(exponentials, axis=axis)
    mean = None if targets is None else mean + jnp.sum(targets * logits, axis=axis)
    return new_top, total, mean


def _entropies_backward(ring, similarity, saved, cotangents):
    zimg, ztxt, scale, who, sums = saved

    def visit(row, column, to_images, to_texts):
        (images, row_sum, row_grad), (texts, column_sum, column_grad) = row, column
        ways, targets = _tile(similarity, images, texts, scale)
        # Absent pairs need no mask: their cotangents are zero and so is exp(MASKED - sum).
        slopes: tuple[Array, ...] = (
            row_grad[:, None] * _less(jnp.exp(ways[0] - row_sum[:, None]), targets),
            column_grad[None, :] * _less(jnp.exp(ways[-1] - column_sum[None, :]), targets),
        )
        if len(ways) == 1:
            slopes = (slopes[0] + slopes[1],)
        more_images, more_texts = _tile_gradients(similarity, images[0], texts[0], slopes)
        return to_images + more_images, to_texts + more_texts

    to_images, to_texts = around_the_ring(
        visit,
        ((zimg, who), sums[0], cotangents[0]),
        ((ztxt, who), sums[1], cotangents[1]),
        jnp.zeros(vectors(zimg).shape, jnp.float32),
        jnp.zeros(vectors(ztxt).shape, ring.sums),
        ring=ring,
    )
    return *_input_gradients(zimg, ztxt, scale, to_images, to_texts), None


_entropies.defvjp(_entropies_forward, _entropies_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(5, 6))
def _softplus_sums(zimg, ztxt, scale, bias, who, ring, similarity):
    """Of each local image over the logits of all texts."""
    return _softplus_sums_forward(zimg, ztxt, scale, bias, who, ring, similarity)[0]


def _softplus_sums_forward(zimg, ztxt, scale, bias, who, ring, similarity):
    def visit(row, column, sums, _):
        ways, targets = _tile(similarity, row, column, scale, bias)
        logits = mean_of(ways)
        losses = jax.nn.softplus(logits)
        losses = losses if targets is None else losses - targets * logits
        return sums + jnp.sum(losses, axis=1), ()

    start = jnp.zeros(who[0].shape, jnp.float32)
    sums, _ = around_the_ring(visit, (zimg, who), (ztxt, who), start, (), ring=ring)
    return sums, (zimg, ztxt, scale, bias, who)


def _softplus_sums_backward(ring, similarity, saved, cotangent):
    zimg, ztxt, scale, bias, who = saved

    def visit(row, texts, row_state, to_texts):
        (images, row_grad), (to_images, to_bias) = row, row_state
        ways, targets = _tile(similarity, images, texts, scale, bias)
        slope = row_grad[:, None] * _less(jax.nn.sigmoid(mean_of(ways)), targets)
        slopes = tuple(slope / len(ways) for _ in ways)
        more_images, more_texts = _tile_gradients(similarity, images[0], texts[0], slopes)
        state = (to_images + more_images, to_bias + jnp.sum(slope, axis=1))
        return state, to_texts + more_texts

    (to_images, to_bias), to_texts = around_the_ring(
        visit,
        ((zimg, who), cotangent),
        (ztxt, who),
        (jnp.zeros(vectors(zimg).shape, jnp.float32), jnp.zeros(cotangent.shape, jnp.float32)),
        jnp.zeros(vectors(ztxt).shape, ring.sums),
        ring=ring,
    )
    gradients = _input_gradients(zimg, ztxt, scale, to_images, to_texts)
    return *gradients, jnp.sum(to_bias), None


_softplus_sums.defvjp(_softplus_sums_forward, _softplus_sums_backward)


def _input_gradients(zimg, ztxt, scale, to_images, to_texts):
    """Gradients of zimg, ztxt and scale from those of images and texts through unscaled logits.

    All similarities are proportional to the length of an image's vectors, so their sum, weighted by
    its cotangents, is that of the vectors times their gradients (Euler).
    """
    dscale = jnp.sum(vectors(zimg).astype(jnp.float32) * to_images)
    return _scaled(zimg, scale, to_images), _scaled(ztxt, scale, to_texts), dscale


def _scaled(z, scale, gradient):
    gradient = (scale * gradient.astype(jnp.float32)).astype(vectors(z).dtype)
    return Tokens(gradient) if isinstance(z, Tokens) else gradient


def _tile(similarity, row, column, scale, bias=0.0):
    """One tile of the logits, one or both ways, MASKED where image or text is absent; and T."""
    (zi, (row_present, row_groups)), (zt, (column_present, column_groups)) = row, column
    ways = similarities(similarity, zi, zt)
    both = row_present[:, None] & column_present[None, :]
    ways = tuple(jnp.where(both, scale * x + bias, MASKED) for x in ways)
    if row_groups is None:
        return ways, None
    same = both & (row_groups[0][:, None] == column_groups[0][None, :])
    return ways, jnp.where(same, row_groups[1][:, None], 0.0)


def _tile_gradients(similarity, zi, zt, slopes):
    """Of images and texts, float32, through a tile of unscaled logits with these cotangents."""
    if similarity == "dot":
        to_images = product("nm,md->nd", slopes[0], zt)
        return to_images, product("nm,nd->md", slopes[0], zi)

    def ways(image, text):
        image, text = (x.astype(vectors(z).dtype) for x, z in ((image, zi), (text, zt)))
        return similarities(similarity, replaced(zi, image), replaced(zt, text))

    inputs = (vectors(z).astype(jnp.float32) for z in (zi, zt))
    return jax.vjp(ways, *inputs)[1](slopes)


def _less(x, y):
    """`x - y` where there is a y."""
    return x if y is None else x - y


def _group_sizes(present, groups, ring):
    """How many pairs present, on all devices, are of the group of each local one; at least 1."""

    def visit(row, column, count, _):
        same = (row[1][:, None] == column[1][None, :]) & column[0][None, :]
        return count + jnp.sum(same, axis=1).astype(jnp.float32), ()

    who, start = (present, groups), jnp.zeros(present.shape, jnp.float32)
    count, _ = around_the_ring(visit, who, who, start, (), ring=ring)
    return jnp.maximum(count, 1)
