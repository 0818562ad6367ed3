"""What a model makes of images and texts together: a function of both, over many pairs."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Int

from vlp.evals.embed import Encoder, lagging, pad_rows
from vlp.models.naflex import device_images
from vlp.parallel.sharding import rows_kept

IMAGES = 64
"""Images whose tokens are held at the same time; cut data into batches of at most so many."""

PAIRS = 128
"""Pairs read at the same time, unless it is said otherwise."""

Function = Callable[..., Any]
"""`(model, image: Encoded, *texts) -> pytree of arrays [n, ...]`; a module's own function, or an
object that is equal to another with the same settings, so that it is compiled once."""


def read_pairs(
    encoder: Encoder,
    batches: Iterable[Mapping[str, Any]],
    *,
    function: Function,
    images: Int[np.ndarray, " p"],
    texts: Sequence[np.ndarray] = (),
    at_once: int = PAIRS,
) -> Any:
    """What `function` says of each pair, as numpy arrays `[p, ...]` in the order of the pairs.

    An image is encoded once, with its batch, whose tokens are let go before the next one's are
    made; images of which nothing is asked are not encoded if their whole batch is not. The text of
    a pair is encoded as often as it occurs, which costs little beside reading the image.

    Args:
      encoder: The model and its mesh.
      batches: As for `Encoder.embed_images`, every time in the same order and of the same size; or
        those of `vlp.jobs.shown_again`, of which every process has its own rows.
      function: See `Function`.
      images: Which image is in which pair: its row among the readable ones.
      texts: Arrays `[p, ...]`, such as token ids, that are handed on to `function`.
      at_once: Pairs read at the same time over all devices.

    Raises:
      ValueError: If there are no pairs, or more images are named than there are.
    """
    if not len(images):
        raise ValueError("read_pairs needs at least one pair, got none; is the data set empty?")
    order = np.argsort(images, kind="stable")
    rows, columns = images[order], [text[order] for text in texts]
    size = encoder.divisible(min(at_once, len(rows)))

    def begun() -> Iterator[tuple[Any, int]]:
        first = reached = 0
        for batch in batches:
            good = _readable(batch)
            start, stop = np.searchsorted(rows, [first, first + len(good)])
            if start < stop:
                given = _put(encoder, batch)
                # The encoded images stay on the devices.
                block = _encode(encoder.graphdef, encoder.params, given, encoder.out)
            for low in range(start, stop, size):
                part = slice(low, min(low + size, stop))
                places = good[rows[part] - first].astype(np.int32)
                chunk = (places, *(column[part] for column in columns))
                padded = [encoder.put(pad_rows(x, size=size)) for x in chunk]
                own = (encoder.graphdef, encoder.params, block, padded)
                yield _read(*own, function=function, out=encoder.out), len(places)
            first, reached = first + len(good), stop
        if reached < len(rows):
            raise ValueError(
                f"pairs must be of the {first} images that can be read, got image {rows[-1]}; "
                "use embed.match after rejects"
            )

    done = [jax.tree.map(lambda x, n=n: np.asarray(x)[:n], r) for r, n in lagging(begun())]
    back = np.argsort(order)
    return jax.tree.map(lambda *parts: np.concatenate(parts)[back], *done)


def _readable(batch: Mapping[str, Any]) -> Int[np.ndarray, " g"]:
    """Which rows of a batch are images that can be read, in the images' order."""
    if "places" in batch:
        return batch["places"]
    return np.flatnonzero(np.asarray(batch["weight"]) > 0)


def _put(encoder: Encoder, batch: Mapping[str, Any]) -> Any:
    """The images of a batch on the devices."""
    images = device_images(batch["image"])
    if "places" in batch:
        return jax.tree.map(encoder.put_own, images)
    size = encoder.divisible(len(batch["weight"]))
    return jax.tree.map(lambda rows: encoder.put(pad_rows(rows, size=size)), images)


def another(n: int) -> Int[np.ndarray, " n"]:
    """For each of `n` things one that is not itself, always the same.

    Raises:
      ValueError: If there is only one.
    """
    if n < 2:
        raise ValueError(f"a comparison with another image needs two images at least, got {n}")
    circle = np.random.default_rng(0).permutation(n)
    after = np.empty(n, np.int64)
    after[circle] = np.roll(circle, 1)
    return after


@partial(jax.jit, static_argnames=("graphdef", "out"))
def _encode(graphdef: Any, params: Any, images: Any, out: Any) -> Any:
    with rows_kept(out and out.mesh):
        return nnx.merge(graphdef, params).encode_image(images)


@partial(jax.jit, static_argnames=("graphdef", "function", "out"))
def _read(graphdef: Any, params: Any, block: Any, chunk: Any, *, function: Function, out: Any):
    places, *texts = chunk
    image = jax.tree.map(lambda x: jnp.take(x, places, axis=0), block)
    with rows_kept(out and out.mesh):
        read = function(nnx.merge(graphdef, params), image, *texts)
    return read if out is None else jax.lax.with_sharding_constraint(read, out)
