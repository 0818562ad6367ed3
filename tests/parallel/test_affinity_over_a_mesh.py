"""The affinity loss spread over a mesh, and what its compiled program sends about."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from vlp.losses import affinity_loss
from vlp.parallel.affinity import affinity_over

N, D, E = 48, 8, 12
SCALES = dict(scale=20.0, teacher_scale=50.0)


def make_mesh(**axes):
    kinds = (AxisType.Auto,) * len(axes)
    return jax.make_mesh(tuple(axes.values()), tuple(axes), axis_types=kinds)


def outcome(loss, weights):
    """Losses and all gradients of an unevenly weighted mean."""
    rng = np.random.default_rng(0)
    vectors = [rng.normal(size=(N, width)) for width in (D, D, E, E)]
    zimg, ztxt, *teacher = (
        jnp.float32(z / np.linalg.norm(z, axis=1, keepdims=True)) for z in vectors
    )
    some = jnp.float32(rng.integers(0, 3, N)).at[6:12].set(0)  # one device has none at all
    weight = {"none": None, "some": some, "zero": jnp.zeros(N)}[weights]
    share = jnp.linspace(0.0, 2.0, N) / N

    def total(zimg, ztxt, scale):
        given = dict(teacher_zimg=teacher[0], teacher_ztxt=teacher[1], teacher_scale=50.0)
        losses = loss(zimg, ztxt, scale=scale, weight=weight, **given)
        return jnp.sum(losses * share), losses

    run = jax.jit(jax.value_and_grad(total, argnums=(0, 1, 2), has_aux=True))
    (_, losses), gradients = run(zimg, ztxt, jnp.float32(20.0))
    return jax.tree.map(np.asarray, (losses, gradients))


dense = functools.cache(functools.partial(outcome, affinity_loss))


@pytest.mark.parametrize("weights", ["none", "some", "zero"])
@pytest.mark.parametrize("axes", [{"data": 8}, {"data": 2, "fsdp": 4}, {"fsdp": 2, "tensor": 4}])
def test_any_mesh_gives_the_values_and_gradients_of_one_device(axes, weights):
    got = outcome(affinity_over(make_mesh(**axes)), weights)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), got, dense(weights)
    )


def compiled(n):
    mesh = make_mesh(data=8)
    split = NamedSharding(mesh, PartitionSpec("data"))
    loss = affinity_over(mesh)

    def total(zimg, ztxt, teacher_zimg, teacher_ztxt):
        teacher = dict(teacher_zimg=teacher_zimg, teacher_ztxt=teacher_ztxt)
        return jnp.sum(loss(zimg, ztxt, **teacher, **SCALES))

    shapes = (
        jax.ShapeDtypeStruct((n, width), jnp.float32, sharding=split) for width in (D, D, E, E)
    )
    run = jax.jit(jax.grad(total, argnums=(0, 1)), out_shardings=(split, split))
    return run.lower(*shapes).compile()


def test_devices_send_each_other_embeddings_and_nothing_larger():
    n, text = 4096, compiled(4096).as_text()
    sent = re.findall(r"= \(?(\w+)\[([\d,]*)\]\S* (all-\w+|reduce-scatter|collective\S+)\(", text)
    sizes = sorted(np.prod([int(x) for x in shape.split(",") if x]) for _, shape, _ in sent)
    # Four sets of embeddings forwards, which pairs are there, and two gradients backwards.
    assert len(sizes) >= 6 and sizes[-1] <= n * E
    assert not re.search(rf"\[{n},{n}\]|\[{n * n}\]", text)


def test_a_device_holds_its_own_rows_alone():
    n = 4096
    rows = 4 * n * n // 8
    assert rows < compiled(n).memory_analysis().temp_size_in_bytes < 8 * rows


def test_a_batch_that_does_not_divide_is_refused_with_ones_that_do():
    z = jnp.ones((100, D))
    with pytest.raises(ValueError, match="divide by 8 devices, got 100; try 96 or 104"):
        affinity_over(make_mesh(data=8))(z, z, teacher_zimg=z, teacher_ztxt=z, **SCALES)
