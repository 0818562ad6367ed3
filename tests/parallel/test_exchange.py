"""Rows brought from other devices: the right ones, with their gradients, and no more at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding

from vlp.parallel.exchange import rows_taken
from vlp.parallel.mesh import make_mesh
from vlp.parallel.sharding import batch_sharding

N = 24
RNG = np.random.default_rng(0)
TREE = {
    "tokens": jnp.float32(RNG.normal(size=(N, 3, 2))),
    "mask": jnp.asarray(RNG.random((N, 3)) > 0.5),
    "ids": jnp.asarray(RNG.integers(0, 9, N), jnp.int32),
}
ANY = jnp.asarray(RNG.integers(0, N, N))
OWN = jnp.arange(N) // 3 * 3 + jnp.asarray(RNG.integers(0, 3, N))  # of shares of three
MESHES = [dict(), dict(fsdp=8), dict(data=4, fsdp=2)]


@pytest.mark.parametrize(("rows", "own"), [(ANY, False), (OWN, False), (OWN, True)])
@pytest.mark.parametrize("axes", MESHES)
def test_each_row_is_the_one_asked_for_and_its_gradient_goes_back_to_it(axes, rows, own):
    mesh = make_mesh(**axes)

    def total(tokens, take):
        got = take(TREE | {"tokens": tokens})
        return jnp.sum(jnp.sin(got["tokens"]) * jnp.arange(1.0, 7.0).reshape(1, 3, 2)), got

    def outcome(take):
        return jax.jit(jax.grad(lambda x: total(x, take), has_aux=True))(TREE["tokens"])

    gradient, got = outcome(lambda tree: rows_taken(tree, rows, mesh=mesh, own=own))
    want_gradient, want = outcome(lambda tree: rows_taken(tree, rows, mesh=None))
    jax.tree.map(np.testing.assert_array_equal, want, jax.tree.map(lambda x: x[rows], TREE))
    jax.tree.map(np.testing.assert_array_equal, got, want)
    np.testing.assert_allclose(gradient, want_gradient, rtol=1e-6)


def compiled(devices, *, own):
    """The gradient through rows that are taken, of eight rows a device."""
    mesh = make_mesh(devices=jax.devices()[:devices])
    split: NamedSharding = batch_sharding(mesh)
    x = jax.ShapeDtypeStruct((8 * devices, 64, 32), jnp.float32, sharding=split)
    rows = jax.ShapeDtypeStruct((8 * devices,), jnp.int32, sharding=split)
    total = lambda x, rows: jnp.sum(jnp.tanh(rows_taken(x, rows, mesh=mesh, own=own)))  # noqa: E731
    return jax.jit(jax.grad(total), out_shardings=split).lower(x, rows).compile()


def test_a_device_holds_no_more_of_eight_shares_than_of_four():
    few, many = (
        compiled(devices, own=False).memory_analysis().temp_size_in_bytes for devices in (4, 8)
    )
    assert many < 1.05 * few
    assert "all-gather" not in compiled(8, own=False).as_text()


def test_of_its_own_rows_a_device_sends_nothing():
    text = compiled(8, own=True).as_text()
    exchanges = ("all-gather", "permute", "all-reduce", "all-to-all")
    assert not [kind for kind in exchanges if kind in text]
