"""L-BFGS beside scipy's L-BFGS-B: the same points, step by step."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize, rosen, rosen_der

from vlp.evals.probes.lbfgs import minimise


def valley(x):
    """Rosenbrock's: its bend makes the line search try all that it knows."""
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


@jax.jit
def ours(start, max_iter):
    value = jax.vmap(jax.value_and_grad(valley))
    return minimise(value, start, tolerance=jnp.asarray(1e-6), max_iter=max_iter)


def theirs(start, max_iter):
    options = {"maxls": 50, "gtol": 1e-6, "ftol": 64 * np.finfo(float).eps, "maxiter": max_iter}
    return minimize(rosen, start, jac=rosen_der, method="L-BFGS-B", options=options)


@pytest.mark.parametrize("steps", [1, 2, 5, 15, 1000])
def test_every_search_is_where_scipy_s_is_after_as_many_steps(steps):
    starts = 2 * np.random.default_rng(0).normal(size=(6, 10))
    with jax.enable_x64(True):
        found = jax.device_get(ours(starts, steps))
    for i, start in enumerate(starts):
        expected = theirs(start, steps)
        np.testing.assert_allclose(found.points[i], expected.x, atol=1e-6)
        # The last steps towards the tolerance depend on rounding.
        assert abs(found.steps[i] - expected.nit) <= (0 if steps < 1000 else 3)
        assert found.converged[i] == (expected.nit < steps)


def test_a_start_at_the_minimum_stays_there():
    with jax.enable_x64(True):
        found = jax.device_get(ours(np.ones((1, 10)), 100))
    assert found.steps.tolist() == [0] and found.converged.all() and (found.points == 1).all()


def test_a_value_that_is_no_number_ends_the_search():
    value = jax.vmap(jax.value_and_grad(lambda x: jnp.sum(x) * jnp.nan))
    end = partial(minimise, value, tolerance=jnp.asarray(1e-6), max_iter=jnp.asarray(9))
    with jax.enable_x64(True):
        found = jax.device_get(jax.jit(end)(np.ones((1, 3))))
    assert (found.points == 1).all() and not found.converged.any()
