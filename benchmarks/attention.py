"""Memory of a tower's stack by each attention and each way of recomputing, by the compiler.

  python benchmarks/attention.py --topology v5e:2x2 --attention einsum splash
  python benchmarks/attention.py --topology h100:8 --attention einsum xla cudnn

Needs `vlp[tpu]` or JAX's CUDA plugin, as `vlp plan` does; nothing is run. Value and gradients of a
stack of blocks in bfloat16: temporary memory of one device, GB. What a kernel takes of time no
compiler says, so that no times are given.
"""

import argparse
import os
from typing import Any

# Name: width, depth, heads, tokens, causal.
STACKS = {
    "image L/14": (1024, 24, 16, 257, False),
    "image L/14, 336": (1024, 24, 16, 577, False),
    "text L/14": (768, 12, 12, 77, True),
}


def main() -> None:
    """Compiles each and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--topology", default="v5e:2x2", help="see vlp plan")
    parser.add_argument("--attention", nargs="+", default=["einsum", "splash"])
    parser.add_argument("--remat", nargs="+", default=["none", "dots", "full", "offload"])
    parser.add_argument("--stacks", nargs="+", choices=STACKS, default=list(STACKS))
    parser.add_argument("--batch", type=int, default=32, help="sequences of a device")
    args = parser.parse_args()
    os.environ["JAX_PLATFORMS"] = "cpu"
    from vlp.planning.topology import open_topology

    topology = open_topology(args.topology)
    print(f"{args.topology}, {args.batch} sequences a device: temporary GB of one device\n")
    print("| stack | tokens | attention | " + " | ".join(args.remat) + " |")
    print("|---" * (3 + len(args.remat)) + "|")
    for name in args.stacks:
        for attention in args.attention:
            cells = [
                temporary(topology, *STACKS[name], batch=args.batch, attention=attention, remat=r)
                for r in args.remat
            ]
            print(f"| {name} | {STACKS[name][3]} | {attention} | {' | '.join(cells)} |", flush=True)


def temporary(
    topology: Any, width: int, depth: int, heads: int, tokens: int, causal: bool, *, batch: int,
    **settings: Any,
) -> str:  # fmt: skip
    """Temporary memory of value and gradients, GB; of the host too, where it keeps something."""
    import jax
    import jax.numpy as jnp
    from flax import nnx

    from vlp.nn.stack import Stack
    from vlp.parallel.mesh import make_mesh
    from vlp.parallel.sharding import batch_sharding, replicated, rows_kept
    from vlp.planning.compiling import OPTIONS

    mesh, platform = make_mesh(devices=topology.devices), topology.chip.kind
    sizes: dict[str, Any] = dict(num_heads=heads, causal=causal, dtype="bfloat16", **settings)
    stack = nnx.eval_shape(lambda: Stack(width, depth, **sizes, rngs=nnx.Rngs(0)))
    graphdef, params = nnx.split(stack)

    def loss(params: Any, x: Any) -> Any:
        with rows_kept(mesh):
            return jnp.sum(nnx.merge(graphdef, params)(x).astype(jnp.float32) ** 2)

    def abstract(leaf: Any, sharding: Any) -> Any:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    params = jax.tree.map(lambda leaf: abstract(leaf, replicated(mesh)), params)
    x = jax.ShapeDtypeStruct((batch * mesh.size, tokens, width), jnp.bfloat16)
    traced = jax.jit(jax.value_and_grad(loss)).trace(params, abstract(x, batch_sharding(mesh)))
    lowered = traced.lower(lowering_platforms=(platform,))
    try:
        program = lowered.compile(compiler_options=dict(OPTIONS.get(platform, {})) or None)
    except jax.errors.JaxRuntimeError as error:
        if "hbm" not in str(error).lower():
            raise
        return "more than it has"
    memory = program.memory_analysis()
    host = memory.host_temp_size_in_bytes
    return f"{memory.temp_size_in_bytes / 1e9:.2f}" + (f" ({host / 1e9:.2f} host)" if host else "")


if __name__ == "__main__":
    main()
