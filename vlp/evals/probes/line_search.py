"""The line search of Moré and Thuente, an evaluation at a time, as L-BFGS-B uses it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

_DECREASE, _CURVATURE, _NARROW = 1e-3, 0.9, 0.1  # of L-BFGS-B
_LARGEST = 1e10

End = tuple[Array, Array, Array]
"""A step, with value and slope there."""


class Search(NamedTuple):
    """Where a search stands; scalars.

    Attributes:
      step: to be tried next, or that is taken.
      start: value and slope where it began.
      low: the step of the lowest value so far, with value and slope.
      other: the other end of the interval, likewise.
      bounds: between which the next step lies.
      widths: of the interval, now and before.
      bracketed: whether the interval holds a minimum.
      second: whether a step with enough decrease and a slope up was seen.
    """

    step: Array
    start: tuple[Array, Array]
    low: End
    other: End
    bounds: tuple[Array, Array]
    widths: tuple[Array, Array]
    bracketed: Array
    second: Array


def begun(step: Array, value: Array, slope: Array) -> Search:
    """A search that tries a step first."""
    zero, no = jnp.zeros_like(step), jnp.zeros((), bool)
    end = (zero, value, slope)
    widths = (zero + _LARGEST, zero + 2 * _LARGEST)
    return Search(step, (value, slope), end, end, (zero, 5 * step), widths, no, no)


def tried(at: Search, value: Array, slope: Array) -> tuple[Search, Array]:
    """The search with its step evaluated, and whether that step is taken.

    Args:
      at: the search.
      value, slope: at its step.

    References:
      Moré and Thuente, ACM TOMS 20, 1994; MINPACK-2, dcsrch and dcstep.
    """
    step, (first, down) = at.step, at.start
    wanted = _DECREASE * down
    enough = value <= first + step * wanted
    second = at.second | (enough & (slope >= 0))
    low, high = at.bounds
    stuck = at.bracketed & ((step <= low) | (step >= high) | (high - low <= _NARROW * high)) | (
        (step >= _LARGEST) & enough & (slope <= wanted)
    )
    taken = stuck | (enough & (jnp.abs(slope) <= -_CURVATURE * down))
    # Until enough decrease was seen the interval is that of the function less the decrease.
    tilt = jnp.where(~second & (value <= at.low[1]) & ~enough, wanted, 0.0)
    ends = [_tilted(end, -tilt) for end in (at.low, at.other, (step, value, slope))]
    best, other, new, bracketed = _interval(ends, at.bounds, bracketed=at.bracketed)
    best, other = _tilted(best, tilt), _tilted(other, tilt)
    size = jnp.abs(other[0] - best[0])
    slow = bracketed & (size >= 0.66 * at.widths[1])
    new = jnp.where(slow, best[0] + 0.5 * (other[0] - best[0]), new)
    widths = (
        jnp.where(bracketed, size, at.widths[0]),
        jnp.where(bracketed, at.widths[0], at.widths[1]),
    )
    ahead = new - best[0]
    bounds = (
        jnp.where(bracketed, jnp.minimum(best[0], other[0]), new + 1.1 * ahead),
        jnp.where(bracketed, jnp.maximum(best[0], other[0]), new + 4 * ahead),
    )
    new = jnp.clip(new, 0, _LARGEST)
    narrow = (
        (new <= bounds[0]) | (new >= bounds[1]) | (bounds[1] - bounds[0] <= _NARROW * bounds[1])
    )
    new = jnp.where(bracketed & narrow, best[0], new)
    step = jnp.where(taken, step, new)
    return Search(step, at.start, best, other, bounds, widths, bracketed, second), taken


def _tilted(end: End, slope: Array) -> End:
    return end[0], end[1] + end[0] * slope, end[2] + slope


def _interval(
    ends: Sequence[End], bounds: tuple[Array, Array], *, bracketed: Array
) -> tuple[End, End, Array, Array]:
    """The interval with a new step in it, the step to try then, and whether it is bracketed.

    Args:
      ends: the lowest, the other one and the new one.
      bounds: between which a step beyond lies.
      bracketed: whether the interval holds a minimum.
    """
    low, other, new = ends
    (x, fx, dx), (y, fy, dy), (t, ft, dt) = ends
    higher, turned = ft > fx, dt * jnp.sign(dx) < 0
    theta, gamma = _cubic(low, new)
    # A higher value: the minimum lies between; the cubic's, or half way to the quadratic's.
    sign = jnp.where(t < x, -gamma, gamma)
    cubic = x + ((sign - dx) + theta) / (((sign - dx) + sign) + dt) * (t - x)
    square = x + dx / ((fx - ft) / (t - x) + dx) / 2 * (t - x)
    near = jnp.abs(cubic - x) < jnp.abs(square - x)
    one = jnp.where(near, cubic, cubic + (square - cubic) / 2)
    # A lower value whose slope turned: between, too; the farther of both.
    sign = jnp.where(t > x, -gamma, gamma)
    cubic = t + ((sign - dt) + theta) / (((sign - dt) + sign) + dx) * (x - t)
    secant = t + dt / (dt - dx) * (x - t)
    two = jnp.where(jnp.abs(cubic - t) > jnp.abs(secant - t), cubic, secant)
    # A lower value and a flatter slope: beyond.
    end = jnp.where(t > x, bounds[1], bounds[0])
    ratio = ((sign - dt) + theta) / ((sign + (dx - dt)) + sign)
    cubic = jnp.where((ratio < 0) & (sign != 0), t + ratio * (x - t), end)
    closer = jnp.abs(cubic - t) < jnp.abs(secant - t)
    inside = jnp.where(closer, cubic, secant)
    limit = t + 0.66 * (y - t)
    inside = jnp.where(t > x, jnp.minimum(limit, inside), jnp.maximum(limit, inside))
    three = jnp.where(
        bracketed, inside, jnp.clip(jnp.where(closer, secant, cubic), bounds[0], bounds[1])
    )
    # A lower value and a steeper slope: the cubic with the other end, or as far as allowed.
    theta, gamma = _cubic(new, other)
    sign = jnp.where(t > y, -gamma, gamma)
    cubic = t + ((sign - dt) + theta) / (((sign - dt) + sign) + dy) * (y - t)
    four = jnp.where(bracketed, cubic, end)
    flatter = jnp.abs(dt) < jnp.abs(dx)
    step = jnp.where(higher, one, jnp.where(turned, two, jnp.where(flatter, three, four)))

    best: Any = jax.tree.map(lambda a, b: jnp.where(higher, a, b), low, new)
    rest: Any = jax.tree.map(
        lambda a, b, c: jnp.where(higher, a, jnp.where(turned, b, c)), new, low, other
    )
    return best, rest, step, bracketed | higher | turned


def _cubic(first: End, second: End) -> tuple[Array, Array]:
    """What the minimum of the cubic through two values with their slopes is made of."""
    (a, fa, da), (b, fb, db) = first, second
    theta = 3 * (fa - fb) / (b - a) + da + db
    size = jnp.maximum(jnp.maximum(jnp.abs(theta), jnp.abs(da)), jnp.abs(db))
    size = jnp.maximum(size, jnp.finfo(theta.dtype).tiny)
    root = (theta / size) ** 2 - (da / size) * (db / size)
    return theta, size * jnp.sqrt(jnp.maximum(root, 0))
