"""How well words are told, a few places of each text at a time where their logits are large."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from vlp.losses.distillation import distilled_word_losses
from vlp.losses.language import mean_a_target, word_losses
from vlp.nn.edges import in_parts
from vlp.nn.vocabulary import Words
from vlp.objectives.common.tokens import correct
from vlp.parallel.mesh import AXES, AnyMesh, batch_parts
from vlp.parallel.shares import own_rows

WHOLE_BYTES = 2**28  # of a device's logits, up to which they are made at once
USUAL_PLACES = 8


class Told(NamedTuple):
    """What is found of each text, a target: 0 where it has none.

    Attributes:
        nats: the cross entropy.
        right: the share that was the likeliest word.
        soft: the cross entropy with what a teacher says; 0 without one.
    """

    nats: Float[Array, " n"]
    right: Float[Array, " n"]
    soft: Float[Array, " n"]


def tell(
    words: Words,
    targets: Int[Array, "n l"],
    *,
    pad_id: int,
    label_smoothing: float = 0.0,
    teacher: Words | None = None,
    places: int | None = None,
    mesh: AnyMesh | None = None,
) -> Told:
    """Losses and accuracies of the words of texts.

    A few places at a time, those of each text that are asked come first, and of what none is asked
    no logits are made; the backward pass makes them again. So memory holds the logits of few
    places, and time goes by the text with the most targets.

    Args:
        words: what is said at each place.
        targets: what is true there, `pad_id` where nothing is asked.
        pad_id: of no target.
        label_smoothing: as in `vlp.losses.captioning_loss`.
        teacher: what another says; a constant.
        places: of each text at a time; None for all while a device's logits take at most 256 MiB,
            else 8.
        mesh: over which the texts are split.

    Raises:
        ValueError: when `places` is under 1.
    """
    if places is not None and places < 1:
        raise ValueError(f"places_at_once must be at least 1, got {places}; or None")
    n, length = targets.shape
    devices = 1 if in_parts() else batch_parts(mesh)
    whole = 4 * n * length * words.kernel.shape[1] // devices
    if places is None:
        places = length if whole <= WHOLE_BYTES else USUAL_PLACES

    def at_places(heads: Any, rows: Any) -> Any:
        (own, theirs), (tokens, slow, targets) = heads, rows
        logits = Words(tokens, *own).logits()
        nats = word_losses(logits, targets, pad_id=pad_id, label_smoothing=label_smoothing)
        right = correct(logits, targets, pad_id=pad_id)
        if theirs is None:
            return nats, right, jnp.zeros_like(nats)
        slow_logits = Words(slow, *theirs).logits()
        return nats, right, distilled_word_losses(logits, slow_logits, targets, pad_id=pad_id)

    teacher = jax.lax.stop_gradient(teacher)
    heads = words[1:], None if teacher is None else teacher[1:]
    rows = words.tokens, None if teacher is None else teacher.tokens, targets
    if places < length:
        found = own_rows(_few(at_places, places, pad_id), mesh, axes=AXES)(heads, rows)
    else:
        found = at_places(heads, rows)
    return Told(*(mean_a_target(each, targets, pad_id=pad_id) for each in found))


def _few(function: Callable[[Any, Any], Any], places: int, pad_id: int) -> Any:
    """The function of arrays `[n, l, ...]`, targets last, applied to so many places at a time, in
    another order: those with a target in front."""

    def chunked(heads: Any, rows: Any) -> Any:
        asked = rows[-1] != pad_id
        order = jnp.argsort(~asked, axis=1, stable=True)
        cut = functools.partial(_ordered, order=order, places=places, pad_id=pad_id)
        chunks, there = jax.tree.map(cut, (rows, asked))

        def none(heads: Any, part: Any) -> Any:
            nothing = jnp.zeros_like(part[-1], jnp.float32)
            return nothing, nothing, nothing

        # Around the choice, not inside: what one side keeps, a loop keeps for every turn.
        @functools.partial(jax.checkpoint, prevent_cse=False)  # there is a loop around it
        def found_in(heads: Any, part: Any, there: Any) -> Any:
            return jax.lax.cond(jnp.any(there), function, none, heads, part)

        def step(_: None, chunk: Any) -> Any:
            return None, found_in(heads, *chunk)

        _, found = jax.lax.scan(step, None, (chunks, there))
        n, length = asked.shape
        return jax.tree.map(lambda x: x.swapaxes(0, 1).reshape(n, -1)[:, :length], found)

    return chunked


def _ordered(x: Array, order: Int[Array, "n l"], *, places: int, pad_id: int) -> Array:
    """`[n, l, ...]` in an order of its places, as `[chunks, n, places, ...]`, filled up."""
    ones = (1,) * (x.ndim - 2)
    x = jnp.take_along_axis(x, order.reshape(*order.shape, *ones), axis=1)
    fill = pad_id if jnp.issubdtype(x.dtype, jnp.integer) else 0
    rest = -x.shape[1] % places
    x = jnp.pad(x, ((0, 0), (0, rest), *((0, 0) for _ in ones)), constant_values=fill)
    return x.reshape(len(x), -1, places, *x.shape[2:]).swapaxes(0, 1)
