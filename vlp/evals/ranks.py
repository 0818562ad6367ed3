"""Ranks of what is right: what they are with every tie lost, and with every tie won."""

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from vlp.metrics import TIE_TOLERANCE, scores

_HELD = 2**20  # scores at once, 4 MiB
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
    n, m = len(zimg), len(ztxt)
    rows = max(1, min(m, _HELD // n))
    images = jnp.asarray(zimg, jnp.float32)

    def blocks() -> Iterator[tuple[Array, Array, Array]]:
        """Texts a block at a time, so that the devices never hold all of them."""
        for first in range(0, m, rows):
            text = np.asarray(ztxt[first : first + rows], np.float32)
            image = np.asarray(image_of_text[first : first + rows], np.int32)
            yield _filled(text, rows), _filled(image, rows), np.arange(rows) < len(text)

    best = jnp.full(n, -jnp.inf)
    own = []
    for text, image, real in blocks():
        score, best = _own(images, text, image, real, best)
        own.append(np.asarray(score))  # waits, so that blocks do not pile up
    of_images = (jnp.zeros(n, jnp.int32), jnp.zeros(n, jnp.int32))
    of_texts = []
    for (text, image, real), score in zip(blocks(), own, strict=True):
        block, of_images = _among(images, text, image, real, score, best, of_images)
        of_texts.append(jax.tree.map(np.asarray, block))
    texts = (np.concatenate(parts)[:m] for parts in zip(*of_texts, strict=True))
    never = _never(of_images, ~jnp.isfinite(best), m)
    return Ranks(*texts), Ranks(*map(np.asarray, never))


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


@jax.jit
def _own(zimg: Array, text: Array, image: Array, real: Array, best: Array) -> tuple[Array, Array]:
    """The scores of texts with their images, and the best one so far of each image."""
    their = zimg[image]
    found = jnp.einsum("n...d,nd->n...", their, text, precision=jax.lax.Precision.HIGHEST)
    score = found if found.ndim == 1 else found.max(axis=1)
    return score, best.at[jnp.where(real, image, zimg.shape[0])].max(score, mode="drop")


@jax.jit
def _among(
    zimg: Array,
    text: Array,
    image: Array,
    real: Array,
    score: Array,
    best: Array,
    of_images: tuple[Array, Array],
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Ranks of these texts' images, and what these texts add to the counts of each image."""
    n = zimg.shape[0]
    found = scores(text, zimg, product=_exact)
    wrong = (image[:, None] != jnp.arange(n, dtype=jnp.int32)[None, :]) & real[:, None]
    of_texts = _never(_counts(found, score[:, None], wrong, axis=1), jnp.isnan(score), n)
    more = _counts(found, best[None, :], wrong, axis=0)
    return of_texts, jax.tree.map(jnp.add, of_images, more)


def _counts(found: Array, own: Array, wrong: Array, *, axis: int) -> tuple[Array, Array]:
    """How many wrong candidates are not below the right one, and how many are above it."""
    not_below = wrong & ~(found < own - TIE_TOLERANCE)
    above = wrong & (found > own + TIE_TOLERANCE)
    return not_below.sum(axis, dtype=jnp.int32), above.sum(axis, dtype=jnp.int32)


def _never(ranks: Any, lost: Array, size: int) -> Any:
    """The ranks, the last one where the right candidate has no score."""
    return jax.tree.map(lambda x: jnp.where(lost, size, x), ranks)


def _filled(x: np.ndarray, rows: int) -> np.ndarray:
    """So many rows, zeros at the end."""
    return np.pad(x, ((0, rows - len(x)), *((0, 0) for _ in x.shape[1:])))


def _blocks(x: Array, rows: int) -> Array:
    """Rows in blocks, `[n, ...] -> [ceil(n / rows), rows, ...]`, zeros at the end."""
    missing = -x.shape[0] % rows
    padded = jnp.pad(x, ((0, missing), *((0, 0) for _ in x.shape[1:])))
    return padded.reshape(-1, rows, *x.shape[1:])
