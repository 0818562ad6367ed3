"""Modules with parameters from numpy: compiling a normal initialiser per shape takes seconds."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx


def filled(make, seed=0):
    """The module that `make()` builds, without running its initialisers.

    Kernels have the variance of their fan-in and norms a scale near 1; variances are positive and
    everything else is small.
    """
    rng = np.random.default_rng(seed)
    graphdef, state = nnx.split(nnx.eval_shape(make))

    def fill(path, leaf):
        name = jax.tree_util.keystr(path)
        values = rng.normal(size=leaf.shape)
        if "kernel" in name:
            values *= leaf.shape[-2] ** -0.5
        elif "norm" in name and "scale" in name:
            values = 1 + 0.1 * values
        elif "variance" in name:
            values = 0.5 + np.abs(values)
        else:
            values *= 0.3
        return jnp.asarray(values, leaf.dtype)

    return nnx.merge(graphdef, jax.tree_util.tree_map_with_path(fill, state))
