"""L-BFGS for several functions at once, in one compiled loop; the steps are those of L-BFGS-B."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from vlp.evals.probes.line_search import Search, begun, tried

_MEMORY, _TRIES = 10, 50  # steps remembered; evaluations of a step, as scikit-learn allows
_FLAT = 64  # times the rounding of float64: a step that lowers the value by less ends the search

Value = Callable[[Float[Array, "c p"]], tuple[Float[Array, " c"], Float[Array, "c p"]]]


class Found(NamedTuple):
    """Where searches ended.

    Attributes:
      points: The lowest of each.
      steps: How many each took.
      converged: Whether it ended before its steps did, at a minimum.
    """

    points: Float[Array, "c p"]
    steps: Int[Array, " c"]
    converged: Bool[Array, " c"]


class _State(NamedTuple):
    """Of one search: a point, the direction from it, and the steps that are remembered."""

    point: Array
    value: Array
    gradient: Array
    direction: Array
    search: Search
    moves: Array
    changes: Array
    inverse: Array  # of the product of both; 0 where there is none
    scale: Array
    tries: Array
    steps: Array
    done: Array
    lost: Array  # no step lowers the value


def minimise(
    value: Value, start: Float[Array, "c p"], *, tolerance: Array, max_iter: Array
) -> Found:
    """Minima of several functions, each found as L-BFGS-B without bounds finds it.

    Args:
      value: The functions' values and gradients, each at its own point; float64.
      start: Where to begin.
      tolerance: Of the largest entry of a gradient.
      max_iter: Steps at most.

    References:
      Byrd, Lu, Nocedal and Zhu, 1995; Zhu et al., 1997, whose rules for ending these are.
    """

    def step(states: _State) -> _State:
        trial = states.point + states.search.step[:, None] * states.direction
        given = (states, trial, *value(trial))
        new = jax.vmap(partial(_advanced, tolerance=tolerance, max_iter=max_iter))(*given)

        def kept(old: Array, new: Array) -> Array:
            return jnp.where(states.done.reshape(-1, *(1,) * (new.ndim - 1)), old, new)

        return jax.tree.map(kept, states, new)

    first = jax.vmap(partial(_first, tolerance=tolerance))(start, *value(start))
    last = jax.lax.while_loop(lambda states: ~states.done.all(), step, first)
    return Found(last.point, last.steps, (last.steps < max_iter) & ~last.lost)


def _first(point: Array, value: Array, gradient: Array, *, tolerance: Array) -> _State:
    none = jnp.zeros((_MEMORY, len(point)), point.dtype)
    size = jnp.sqrt(gradient @ gradient)
    step = jnp.minimum(1 / jnp.maximum(size, 1e-10), 1e10)
    zero = jnp.zeros((), jnp.int32)
    return _State(
        point,
        value,
        gradient,
        -gradient,
        begun(step, value, -(size**2)),
        none,
        none,
        none[:, 0],
        jnp.ones((), point.dtype),
        zero,
        zero,
        jnp.abs(gradient).max() <= tolerance,
        jnp.zeros((), bool),
    )


def _advanced(
    at: _State, point: Array, value: Array, gradient: Array, *, tolerance: Array, max_iter: Array
) -> _State:
    """A search once a step of its was evaluated: it tries another, or goes on from there."""
    slope = gradient @ at.direction
    search, taken = tried(at.search, value, slope)
    tries = at.tries + 1
    failed = ~taken & (tries >= _TRIES)
    new = _remembering(at, point, gradient, at.search)
    moves, changes, inverse, scale = jax.tree.map(
        lambda a, b: jnp.where(taken, a, b), new, (at.moves, at.changes, at.inverse, at.scale)
    )
    lost = failed & (at.inverse == 0).all()  # even the steepest descent finds no lower value
    inverse = jnp.where(failed, 0, inverse)
    scale = jnp.where(failed, 1, scale)
    steps = at.steps + taken.astype(jnp.int32)
    lowered = at.value - value
    size = jnp.maximum(jnp.maximum(jnp.abs(at.value), jnp.abs(value)), 1)
    flat = lowered <= _FLAT * jnp.finfo(value.dtype).eps * size
    ended = taken & ((jnp.abs(gradient).max() <= tolerance) | flat | (steps >= max_iter))
    here = (point, value, gradient)
    there = (at.point, at.value, at.gradient)
    point, value, gradient = (jnp.where(taken, a, b) for a, b in zip(here, there, strict=True))
    direction = _direction(gradient, moves, changes, inverse, scale)
    slope = gradient @ direction
    inverse = jnp.where(slope >= 0, 0, inverse)
    direction = jnp.where(slope >= 0, -gradient, direction)
    slope = jnp.where(slope >= 0, -(gradient @ gradient), slope)
    length = jnp.where(steps == 0, jnp.minimum(1, jax.lax.rsqrt(-slope)), jnp.ones_like(slope))
    onward = taken | failed
    fresh = begun(length, value, slope)
    search = jax.tree.map(lambda a, b: jnp.where(onward, a, b), fresh, search)
    return _State(
        point,
        value,
        gradient,
        jnp.where(onward, direction, at.direction),
        search,
        moves,
        changes,
        inverse,
        scale,
        jnp.where(onward, 0, tries),
        steps,
        at.done | ended | lost,
        lost,
    )


def _remembering(at: _State, point: Array, gradient: Array, search: Search) -> Any:
    """The steps remembered, with one more where its curvature is positive; the latest first."""
    move, change = point - at.point, gradient - at.gradient
    product = move @ change
    good = product > jnp.finfo(product.dtype).eps * -search.start[1] * search.step
    added = (
        jnp.concatenate([move[None], at.moves[:-1]]),
        jnp.concatenate([change[None], at.changes[:-1]]),
        jnp.concatenate([1 / product[None], at.inverse[:-1]]),
        product / (change @ change),
    )
    before = (at.moves, at.changes, at.inverse, at.scale)
    return jax.tree.map(lambda a, b: jnp.where(good, a, b), added, before)


def _direction(
    gradient: Array, moves: Array, changes: Array, inverse: Array, scale: Array
) -> Array:
    """Down, by the two loops of Nocedal, 1980."""

    def towards(rest: Array, step: Any) -> tuple[Array, Array]:
        move, change, inverse = step
        share = inverse * (move @ rest)
        return rest - share * change, share

    def back(rest: Array, step: Any) -> tuple[Array, None]:
        move, change, inverse, share = step
        return rest + (share - inverse * (change @ rest)) * move, None

    remembered = (moves, changes, inverse)
    rest, shares = jax.lax.scan(towards, gradient, remembered)
    return -jax.lax.scan(back, scale * rest, (*remembered, shares), reverse=True)[0]
