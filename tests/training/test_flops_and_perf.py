"""FLOPs against arithmetic by hand; the toy's text tower looks vectors up, without a product."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec as P
from toy import PAIRS, SIZE, WIDTH, device_batch, make_toy_training

from vlp.parallel.mesh import make_mesh
from vlp.training.flops import model_flops
from vlp.training.loop import perf

A, B, C = jnp.zeros((4, 8)), jnp.zeros((8, 16)), jnp.zeros((16, 2))
AB, ABC = 2 * 4 * 8 * 16, 2 * 4 * 16 * 2


def flops(function, *arguments, trained):
    return model_flops(jax.make_jaxpr(function)(*arguments), trained=trained)


def test_a_product_costs_again_for_each_operand_with_a_gradient():
    def product(a, b, c):
        return (a @ b) @ c

    assert flops(product, A, B, C, trained=[False, False, False]) == AB + ABC
    assert flops(product, A, B, C, trained=[False, True, False]) == 2 * AB + 2 * ABC
    assert flops(product, A, B, C, trained=[False, True, True]) == 2 * AB + 3 * ABC
    assert flops(product, A, B, C, trained=[False, False, True]) == AB + 2 * ABC


@pytest.mark.parametrize(
    "wrap",
    [jax.jit, jax.checkpoint, lambda f: lambda *x: jax.lax.cond(x[0][0, 0] > 0, f, f, *x)],
    ids=["jit", "checkpoint", "cond"],
)
def test_wrappers_cost_nothing(wrap):
    function = wrap(lambda a, b: a @ b)
    assert flops(function, A, B, trained=[False, True]) == 2 * AB


def test_loops_count_their_length_and_what_they_carry():
    weights = jnp.zeros((5, 8, 8))

    def loop(x, weights):
        return jax.lax.scan(lambda x, w: (x @ w, None), x, weights)[0]

    assert flops(loop, A, weights, trained=[False, True]) == 5 * 3 * 2 * 4 * 8 * 8
    assert flops(loop, A, weights, trained=[False, False]) == 5 * 2 * 4 * 8 * 8


def test_shards_count_once_a_device_and_custom_gradients_as_their_forward_pass():
    @jax.custom_vjp
    def product(a, b):
        return a @ b

    product.defvjp(lambda a, b: (a @ b, (a, b)), lambda r, g: (g @ r[1].T, r[0].T @ g))
    mesh = make_mesh(fsdp=2)
    spread = jax.shard_map(
        product, mesh=mesh, in_specs=(P(("data", "fsdp")), P()), out_specs=P(("data", "fsdp"))
    )
    a = jnp.zeros((16, 8))
    assert flops(spread, a, B, trained=[True, True]) == 3 * 2 * 16 * 8 * 16


def test_convolutions_count():
    image, kernel = jnp.zeros((2, 8, 8, 3)), jnp.zeros((4, 4, 3, 16))

    def patches(image, kernel):
        dimensions = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(
            image, kernel, (4, 4), "VALID", dimension_numbers=dimensions
        )

    want = 2 * (2 * 2 * 2 * 16) * 4 * 4 * 3
    assert flops(patches, image, kernel, trained=[False, True]) == 2 * want


def test_a_training_counts_its_towers_and_a_frozen_one_once(training):
    embed, layers = 2 * PAIRS * SIZE * SIZE * 3 * WIDTH, 2 * 2 * PAIRS * WIDTH * WIDTH
    logits = 2 * PAIRS * PAIRS * WIDTH
    assert training.flops(device_batch(1)) == 2 * embed + 3 * layers + 3 * logits
    frozen = make_toy_training(freeze=["image/.*", "log_scale"])
    assert frozen.flops(device_batch(1)) == embed + layers + 2 * logits


@pytest.mark.parametrize(
    ("kind", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA A100-SXM4-40GB", 312e12),
        ("TPU v5 lite", 197e12),
        ("TPU v5p", 459e12),
        ("TPU v4", 275e12),
        ("cpu", None),
    ],
)
def test_peaks_are_known_by_device_kind(kind, peak):
    assert perf.peak_flops(kind) == peak


def test_utilisation_is_a_share_of_all_devices_together():
    class Device:
        device_kind = "NVIDIA A100-SXM4-80GB"

    assert perf.mfu(flops=312e12, seconds=1.0, devices=[Device()] * 2) == 0.5
    assert perf.mfu(flops=1.0, seconds=1.0, devices=jax.devices()) is None
    assert 0.01 < perf.peak_memory_gb() < 100
