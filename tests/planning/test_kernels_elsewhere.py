"""Attention and recomputation as compiled for GPUs and TPUs, where what does so is installed."""

import re

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from vlp.nn.attention import dot_product_attention
from vlp.nn.stack import Stack
from vlp.parallel.mesh import make_mesh
from vlp.parallel.sharding import batch_sharding, replicated, rows_kept
from vlp.planning.compiling import OPTIONS
from vlp.planning.topology import open_topology

N, H, K = 32, 12, 64
# Tokens, causality, bias, and whether there are lengths or a mask of keys.
CASES = {
    "patches": (197, False, False, None),
    "patches with distances": (197, False, True, None),
    "words": (77, True, False, None),
    "lengths": (77, False, False, "lengths"),
    "padding": (77, False, False, "keys"),
}


def machine(name):
    try:
        topology = open_topology(name)
    except ValueError as error:
        pytest.skip(str(error))
    return make_mesh(devices=topology.devices, fsdp=2), topology.chip.kind


def compiled(function, mesh, platform, *shapes, **jit):
    lowered = jax.jit(function, **jit).trace(*shapes).lower(lowering_platforms=(platform,))
    return lowered.compile(compiler_options=dict(OPTIONS.get(platform, {})) or None)


def gradients(name, *, topology, attention):
    """The compiled gradients of an attention, as text."""
    tokens, causal, biased, masked = CASES[name]
    mesh, platform = machine(topology)
    rows, everywhere = batch_sharding(mesh), replicated(mesh)

    def loss(qkv, bias, mask):
        settings = dict(bias=bias, mask=mask, causal=causal, implementation=attention)
        with rows_kept(mesh):
            return jnp.sum(dot_product_attention(*qkv, **settings).astype(jnp.float32) ** 2)

    def shape(sizes, dtype, where):
        return jax.ShapeDtypeStruct(sizes, dtype, sharding=where)

    qkv = (shape((N, tokens, H, K), jnp.bfloat16, rows),) * 3
    bias = shape((H, tokens, tokens), jnp.float32, everywhere) if biased else None
    masks = {"lengths": ((N,), jnp.int32), "keys": ((N, tokens), jnp.bool_)}
    mask = shape(*masks[masked], rows) if masked else None
    of = jax.grad(loss, argnums=(0, 1) if biased else 0)
    return compiled(of, mesh, platform, qkv, bias, mask).as_text()


def weights(text, tokens):
    """Arrays of all queries and keys of all heads and rows of a device."""
    sizes = rf"(?:{tokens}|{tokens + tokens % 2})"
    return re.findall(rf"\[{N // 8},{H},{sizes},{sizes}\]", text)


@pytest.mark.parametrize("name", CASES)
def test_on_gpus_auto_is_cudnn_s_and_holds_no_weights_of_queries_and_keys(name):
    text = gradients(name, topology="h100:8", attention="auto")
    assert "__cudnn$fmha" in text and "SoftmaxBackward" in text
    assert weights(text, CASES[name][0]) == []


@pytest.mark.parametrize("name", ["patches", "words", "lengths", "padding"])
def test_on_tpus_splash_is_a_kernel_a_device_and_exchanges_nothing(name):
    text = gradients(name, topology="v5e:2x4", attention="splash")
    assert "splash_mha_fwd" in text and "splash_mha_dq" in text and "splash_mha_dkv" in text
    assert weights(text, CASES[name][0]) == []
    assert not re.search(r"= \S+ (all-gather|all-reduce|all-to-all|collective-permute)", text)


def memory(remat, *, topology):
    """Temporaries of a stack's gradients, on a device and on its host."""
    mesh, platform = machine(topology)
    settings = dict(num_heads=8, dtype="bfloat16", remat=remat)
    stack = nnx.eval_shape(lambda: Stack(512, 12, **settings, rngs=nnx.Rngs(0)))
    graphdef, params = nnx.split(stack)

    def loss(params, x):
        with rows_kept(mesh):
            return jnp.sum(nnx.merge(graphdef, params)(x).astype(jnp.float32) ** 2)

    def placed(leaf, where):
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where)

    params = jax.tree.map(lambda leaf: placed(leaf, replicated(mesh)), params)
    x = placed(jax.ShapeDtypeStruct((64 * 8, 256, 512), jnp.bfloat16), batch_sharding(mesh))
    found = compiled(jax.grad(loss), mesh, platform, params, x).memory_analysis()
    return found.temp_size_in_bytes, found.host_temp_size_in_bytes


@pytest.mark.slow
@pytest.mark.parametrize("topology", ["v5e:2x4", "h100:8"])
def test_inputs_of_layers_that_wait_on_the_host_are_off_the_device(topology):
    inputs = 12 * 64 * 256 * 512 * 2
    full, offload = (memory(remat, topology=topology) for remat in ("full", "offload"))
    assert full[1] == 0 and offload[1] >= inputs
    assert offload[0] < full[0] - inputs / 2
