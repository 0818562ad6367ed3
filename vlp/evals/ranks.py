"""Ranks of what is right: what they are with every tie lost, and with every tie won."""

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from vlp.metrics import TIE_TOLERANCE, scores

_BITS = {"bfloat16": (8, 7)}  # of exponent and fraction
_HELD = 2**20  # scores at once, 4 MiB
F32, BF16 = "float32", "bfloat16"
"""What scores may be rounded to once they are added up: the nearest of the second often tie."""


class Ranks(NamedTuple):
    """Where a right candidate stands among the wrong ones, 0 = first; of several the best one.

    What is NaN is never found: its rank is the number of candidates.

    Attributes:
      missed: with every tie lost: wrong candidates that do not score below it.
      hit: with every tie won: wrong candidates that score above it.
    """

    missed: Int[np.ndarray, " n"]
    hit: Int[np.ndarray, " n"]


class Placed(NamedTuple):
    """Samples among classes.

    Attributes:
      ranks: of the right class of each.
      predicted: the class of the highest score, of several the first.
    """

    ranks: Ranks
    predicted: Int[np.ndarray, " n"]


class Classified(NamedTuple):
    """Images among classes.

    Attributes:
      ranks: of the right class of each image.
      first: the same rank where of equal scores the class goes first that stands first.
      predicted: the class of the highest score, of several the first.
      wrong: the wrong class of the highest score, of several the first.
    """

    ranks: Ranks
    first: Int[np.ndarray, " n"]
    predicted: Int[np.ndarray, " n"]
    wrong: Int[np.ndarray, " n"]


def class_ranks(
    zimg: Float[np.ndarray, "n *q d"],
    zclass: Float[np.ndarray, "k d"],
    labels: Int[np.ndarray, " n"] | Bool[np.ndarray, "n k"],
    *,
    dtype: str = F32,
) -> Classified:
    """Where the right class of each image stands among all classes.

    Args:
      zimg: Unit-norm image embeddings.
      zclass: Unit-norm class embeddings.
      labels: Row of `zclass` for each image; or which classes are right, one at least.
      dtype: "float32", or "bfloat16" for scores rounded to that.
    """
    if not len(zimg):
        none = np.zeros(0, np.int32)
        return Classified(Ranks(none, none), none, none, none)
    rows = max(1, min(len(zimg), _HELD // len(zclass)))
    classes = jnp.asarray(zclass, jnp.float32)
    parts = []
    for first in range(0, len(zimg), rows):  # the devices never hold all images
        block = np.asarray(zimg[first : first + rows], np.float32)
        given = (_filled(block, rows, 0), _filled(labels[first : first + rows], rows, 0))
        found = _class_ranks(*given, classes, dtype=dtype)
        parts.append([np.asarray(x)[: len(block)] for x in found])
    missed, hit, *others = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return Classified(Ranks(missed, hit), *others)


def gallery_ranks(
    zimg: Float[np.ndarray, "n *q d"],
    ztxt: Float[np.ndarray, "m d"],
    image_of_text: Int[np.ndarray, " m"],
    *,
    dtype: str = F32,
) -> tuple[Ranks, Ranks]:
    """The rank of each text's image, and that of the best text of each image, by one product.

    Args:
      zimg: Unit-norm image embeddings.
      ztxt: Unit-norm text embeddings, any number an image.
      image_of_text: Row of `zimg` that each text describes.
      dtype: As in `class_ranks`.

    Returns:
      Ranks `[m]` of the texts and `[n]` of the images; an image without texts has rank m.
    """
    slots = np.zeros((len(ztxt), 1), np.int32)  # all texts of an image in one: the best counts
    texts, images = _ranked(zimg, ztxt, image_of_text[:, None], slots, dtype)
    return Ranks(*(x[:, 0] for x in texts)), Ranks(*(x[0] for x in images))


def pair_ranks(
    zimg: Float[np.ndarray, "n *q d"],
    ztxt: Float[np.ndarray, "m d"],
    *,
    images: Int[np.ndarray, " p"],
    texts: Int[np.ndarray, " p"],
    dtype: str = F32,
) -> tuple[Ranks, Ranks]:
    """Where the two of each right pair stand for one another, any number for each.

    Args:
      zimg: Unit-norm image embeddings.
      ztxt: Unit-norm text embeddings.
      images, texts: Rows of both that belong together, each pair once.
      dtype: As in `class_ranks`.

    Returns:
      For each pair the rank of its image among the images that are wrong for its text, and that of
      its text among the texts that are wrong for its image, `[p]` each.
    """
    of_text, of_image = _counted(texts), _counted(images)
    shape = (len(ztxt), int(of_text.max(initial=0)) + 1)
    owners, slots = np.full(shape, -1, np.int32), np.zeros(shape, np.int32)
    owners[texts, of_text], slots[texts, of_text] = images, of_image
    by_text, by_image = _ranked(zimg, ztxt, owners, slots, dtype)
    return (
        Ranks(*(x[texts, of_text] for x in by_text)),
        Ranks(*(x[of_image, images] for x in by_image)),
    )


def _counted(values: Int[np.ndarray, " p"]) -> Int[np.ndarray, " p"]:
    """How many times each value stood further in front."""
    order = np.argsort(values, kind="stable")
    starts = np.flatnonzero(np.diff(values[order], prepend=-1))
    sizes = np.diff(starts, append=len(values))
    found = np.empty(len(values), np.int64)
    found[order] = np.arange(len(values)) - np.repeat(starts, sizes)
    return found


def _ranked(zimg: Any, ztxt: Any, owners: np.ndarray, slots: np.ndarray, dtype: str) -> Any:
    """Counts `[m, r]` of texts and `[c, n]` of images, with ties lost and won.

    Args:
      zimg, ztxt: Embeddings.
      owners: Right images of each text, `[m, r]`; -1 for none.
      slots: Where among the right texts of that image the text stands, `[m, r]`; texts that share
        a place are one, of which the best counts.
    """
    n, m, several = len(zimg), len(ztxt), int(slots.max(initial=0)) + 1
    rows = max(1, min(m, _HELD // n))
    images = jnp.asarray(zimg, jnp.float32)

    def blocks() -> Iterator[tuple[np.ndarray, ...]]:
        """Texts a block at a time, so that the devices never hold all of them."""
        for first in range(0, m, rows):
            text = np.asarray(ztxt[first : first + rows], np.float32)
            parts = (x[first : first + rows].astype(np.int32) for x in (owners, slots))
            real = np.arange(rows) < len(text)
            yield _filled(text, rows, 0), *(_filled(x, rows, -1) for x in parts), real

    best = jnp.full((several, n), -jnp.inf)
    own = []
    for text, owner, slot, _ in blocks():
        score, best = _own(images, text, owner, slot, best, dtype=dtype)
        own.append(np.asarray(score))  # waits, so that blocks do not pile up
    of_images = (jnp.zeros((several, n), jnp.int32), jnp.zeros((several, n), jnp.int32))
    of_texts = []
    for (text, owner, _, real), score in zip(blocks(), own, strict=True):
        block, of_images = _among(images, text, owner, real, score, best, of_images, dtype=dtype)
        of_texts.append(jax.tree.map(np.asarray, block))
    texts = tuple(np.concatenate(parts)[:m] for parts in zip(*of_texts, strict=True))
    never = _never(of_images, ~jnp.isfinite(best), m)
    return texts, tuple(map(np.asarray, never))


@partial(jax.jit, static_argnames="dtype")
def _class_ranks(images: Array, labels: Array, zclass: Array, *, dtype: str) -> tuple[Array, ...]:
    classes = jnp.arange(zclass.shape[0], dtype=jnp.int32)
    found = _rounded(scores(images, zclass, product=_exact), dtype)
    right = labels if labels.ndim == 2 else labels[:, None] == classes[None, :]
    own = jnp.where(right, found, -jnp.inf).max(axis=1, keepdims=True)
    place = jnp.argmax(right & (found == own), axis=1)
    before = (found == own) & (classes[None, :] < place[:, None])
    first = (~right & (~(found <= own) | before)).sum(axis=1, dtype=jnp.int32)
    counts = (*_counts(found, own, ~right, axis=1), first)
    ranks = _never(counts, jnp.isnan(own[:, 0]), zclass.shape[0])
    wrong = jnp.argmax(jnp.where(right, -jnp.inf, found), axis=1)
    return *ranks, *(x.astype(jnp.int32) for x in (jnp.argmax(found, axis=1), wrong))


@partial(jax.jit, static_argnames="dtype")
def _own(
    zimg: Array, text: Array, owner: Array, slot: Array, best: Array, *, dtype: str
) -> tuple[Array, Array]:
    """The scores of texts with their images, and the best ones so far of each image."""
    found = jnp.einsum("nr...d,nd->nr...", zimg[owner], text, precision=jax.lax.Precision.HIGHEST)
    found = _rounded(found if found.ndim == 2 else found.max(axis=2), dtype)
    score = jnp.where(owner < 0, -jnp.inf, found)
    return score, best.at[slot, owner].max(score)


@partial(jax.jit, static_argnames="dtype")
def _among(
    zimg: Array,
    text: Array,
    owner: Array,
    real: Array,
    score: Array,
    best: Array,
    of_images: tuple[Array, Array],
    *,
    dtype: str,
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Ranks of these texts' images, and what these texts add to the counts of each image."""
    n = zimg.shape[0]
    images = jnp.arange(n, dtype=jnp.int32)
    found = _rounded(scores(text, zimg, product=_exact), dtype)
    right = (owner[:, :, None] == images[None, None, :]).any(axis=1)

    def of_one(one: Array) -> Any:
        return _counts(found, one[None, :], ~right & real[:, None], axis=0)

    each = [_counts(found, one[:, None], ~right, axis=1) for one in score.T]
    of_texts = jax.tree.map(lambda *x: jnp.stack(x, axis=1), *each)
    more = jax.lax.map(of_one, best)
    return _never(of_texts, jnp.isnan(score), n), jax.tree.map(jnp.add, of_images, more)


def _exact(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def _rounded(found: Array, dtype: str) -> Array:
    return found if dtype == F32 else jax.lax.reduce_precision(found, *_BITS[dtype])


def _counts(found: Array, own: Array, wrong: Array, *, axis: int) -> tuple[Array, Array]:
    """How many wrong candidates are not below the right one, and how many are above it."""
    not_below = wrong & ~(found < own - TIE_TOLERANCE)
    above = wrong & (found > own + TIE_TOLERANCE)
    return not_below.sum(axis, dtype=jnp.int32), above.sum(axis, dtype=jnp.int32)


def _never(ranks: Any, lost: Array, size: int) -> Any:
    """The ranks, the last one where the right candidate has no score."""
    return jax.tree.map(lambda x: jnp.where(lost, size, x), ranks)


def _filled(x: np.ndarray, rows: int, value: int) -> np.ndarray:
    """So many rows, the value in those at the end."""
    widths = ((0, rows - len(x)), *((0, 0) for _ in x.shape[1:]))
    return np.pad(x, widths, constant_values=value)
