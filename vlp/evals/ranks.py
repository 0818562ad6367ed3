"""Ranks of what is right: what they are with every tie lost, and with every tie won."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from vlp.metrics import TIE_TOLERANCE, scores

_HELD = 2**22  # scores at once, 16 MiB
_exact = partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)


class Ranks(NamedTuple):
    """Where the best right candidate of each query stands, 0 = first.

    What is NaN is never found: its rank is the number of candidates.

    Attributes:
      missed: with every tie lost: wrong candidates that do not score below it.
      hit: with every tie won: wrong candidates that score above it.
    """

    missed: Int[np.ndarray, " n"]
    hit: Int[np.ndarray, " n"]


class Classified(NamedTuple):
    """Images among classes.

    Attributes:
      ranks: of the right class of each image.
      predicted: the class of the highest score, of several the first.
    """

    ranks: Ranks
    predicted: Int[np.ndarray, " n"]


def class_ranks(
    zimg: Float[np.ndarray, "n *q d"],
    zclass: Float[np.ndarray, "k d"],
    labels: Int[np.ndarray, " n"],
) -> Classified:
    """Where the right class of each image stands among all classes.

    Args:
      zimg: Unit-norm image embeddings.
      zclass: Unit-norm class embeddings.
      labels: Row of `zclass` for each image.
    """
    if not len(zimg):
        none = np.zeros(0, np.int32)
        return Classified(Ranks(none, none), none)
    rows = max(1, min(len(zimg), _HELD // len(zclass)))
    given = (jnp.asarray(zimg, jnp.float32), jnp.asarray(labels, jnp.int32))
    found = _class_ranks(*given, jnp.asarray(zclass, jnp.float32), rows=rows)
    missed, hit, predicted = (np.asarray(x)[: len(zimg)] for x in found)
    return Classified(Ranks(missed, hit), predicted)


def gallery_ranks(
    zimg: Float[np.ndarray, "n *q d"],
    ztxt: Float[np.ndarray, "m d"],
    image_of_text: Int[np.ndarray, " m"],
) -> tuple[Ranks, Ranks]:
    """The rank of each text's image, and that of the best text of each image, by one product.

    Args:
      zimg: Unit-norm image embeddings.
      ztxt: Unit-norm text embeddings, any number an image.
      image_of_text: Row of `zimg` that each text describes.

    Returns:
      Ranks `[m]` of the texts and `[n]` of the images; an image without texts has rank m.
    """
    rows = max(1, min(len(ztxt), _HELD // len(zimg)))
    found = _gallery_ranks(
        jnp.asarray(zimg, jnp.float32),
        jnp.asarray(ztxt, jnp.float32),
        jnp.asarray(image_of_text, jnp.int32),
        rows=rows,
    )
    texts, images = jax.tree.map(np.asarray, found)
    return Ranks(*(x[: len(ztxt)] for x in texts)), Ranks(*images)


@partial(jax.jit, static_argnames="rows")
def _class_ranks(zimg: Array, labels: Array, zclass: Array, *, rows: int) -> Any:
    classes = jnp.arange(zclass.shape[0], dtype=jnp.int32)

    def of(block: tuple[Array, Array]) -> tuple[Array, Array, Array]:
        images, label = block
        found = scores(images, zclass, product=_exact)
        own = jnp.take_along_axis(found, label[:, None], axis=1)
        wrong = label[:, None] != classes[None, :]
        ranks = _never(_counts(found, own, wrong, axis=1), jnp.isnan(own[:, 0]), zclass.shape[0])
        return *ranks, jnp.argmax(found, axis=1).astype(jnp.int32)

    parts = jax.lax.map(of, (_blocks(zimg, rows), _blocks(labels, rows)))
    return jax.tree.map(lambda x: x.reshape(-1), parts)


@partial(jax.jit, static_argnames="rows")
def _gallery_ranks(zimg: Array, ztxt: Array, image_of_text: Array, *, rows: int) -> Any:
    n, m = zimg.shape[0], ztxt.shape[0]
    images = jnp.arange(n, dtype=jnp.int32)

    def own_scores(block: tuple[Array, Array]) -> Array:
        text, image = block
        their = zimg[image]
        found = jnp.einsum("n...d,nd->n...", their, text, precision=jax.lax.Precision.HIGHEST)
        return found if found.ndim == 1 else found.max(axis=1)

    cut = (_blocks(ztxt, rows), _blocks(image_of_text, rows))
    own = jax.lax.map(own_scores, cut)
    best = jnp.full(n, -jnp.inf).at[image_of_text].max(own.reshape(-1)[:m])

    def step(counts: Any, block: Any) -> tuple[Any, Any]:
        text, image, score, real = block
        found = scores(text, zimg, product=_exact)
        wrong = (image[:, None] != images[None, :]) & real[:, None]
        of_texts = _counts(found, score[:, None], wrong, axis=1)
        of_images = _counts(found, best[None, :], wrong, axis=0)
        return jax.tree.map(jnp.add, counts, of_images), _never(of_texts, jnp.isnan(score), n)

    zeros = (jnp.zeros(n, jnp.int32), jnp.zeros(n, jnp.int32))
    blocks = (*cut, own, _blocks(jnp.ones(m, bool), rows))
    of_images, of_texts = jax.lax.scan(step, zeros, blocks)
    of_images = _never(of_images, ~jnp.isfinite(best), m)
    return jax.tree.map(lambda x: x.reshape(-1), of_texts), of_images


def _counts(found: Array, own: Array, wrong: Array, *, axis: int) -> tuple[Array, Array]:
    """How many wrong candidates are not below the right one, and how many are above it."""
    not_below = wrong & ~(found < own - TIE_TOLERANCE)
    above = wrong & (found > own + TIE_TOLERANCE)
    return not_below.sum(axis, dtype=jnp.int32), above.sum(axis, dtype=jnp.int32)


def _never(ranks: Any, lost: Array, size: int) -> Any:
    """The ranks, the last one where the right candidate has no score."""
    return jax.tree.map(lambda x: jnp.where(lost, size, x), ranks)


def _blocks(x: Array, rows: int) -> Array:
    """Rows in blocks, `[n, ...] -> [ceil(n / rows), rows, ...]`, zeros at the end."""
    missing = -x.shape[0] % rows
    padded = jnp.pad(x, ((0, missing), *((0, 0) for _ in x.shape[1:])))
    return padded.reshape(-1, rows, *x.shape[1:])
