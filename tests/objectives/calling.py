"""An objective called by hand, as the train step calls it."""

import functools
import operator

import jax

from vlp.objectives import Context


def call(objective, model, batch, *, key=0, **rest):
    """The losses of each example added up, metrics and every term's losses, and the carry.

    Args:
        key: a key, or the number of one.
        **rest: of `Context`.
    """
    key = jax.random.key(key) if isinstance(key, int) else key
    losses = objective(Context(model=model, batch=batch, key=key, **rest))
    total = functools.reduce(operator.add, (t.weight * t.values for t in losses.terms.values()))
    terms = {f"{name}_loss": term.values for name, term in losses.terms.items()}
    return total, {**losses.metrics, **terms}, losses.carry
