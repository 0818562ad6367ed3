"""Memory of a contrastive loss and its gradient by the compiler's count; nothing is run.

  python benchmarks/contrastive_memory.py --devices 8 --pairs 8192 32768 131072 --width 512

Prints, for each number of pairs, the temporary memory of one device in MB for the three forms of
`vlp.parallel.contrastive.contrastive_loss`. bfloat16 embeddings in, float32 logits.
"""

import argparse
import os


def main() -> None:
    """Compiles each form for each size and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", type=int, default=8, help="host devices to pretend")
    parser.add_argument("--pairs", type=int, nargs="+", default=[8192, 32768, 131072])
    parser.add_argument("--width", type=int, default=512, help="width of the embeddings")
    parser.add_argument("--kind", choices=("softmax", "sigmoid"), default="softmax")
    args = parser.parse_args()
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["JAX_NUM_CPU_DEVICES"] = str(args.devices)
    print(f"{args.kind}, {args.devices} devices, width {args.width}: temporary MB of one device\n")
    print("|   pairs |   dense | gathered |   ring |\n|---|---|---|---|")
    for pairs in args.pairs:
        cells = [
            temporary_mb(args.kind, implementation, pairs=pairs, width=args.width)
            for implementation in ("dense", "gathered", "ring")
        ]
        print(f"| {pairs:7,} | " + " | ".join(f"{cell:,.1f}" for cell in cells) + " |", flush=True)


def temporary_mb(kind: str, implementation: str, *, pairs: int, width: int) -> float:
    """Temporary memory of one device for value and gradient, in MB."""
    import jax
    import jax.numpy as jnp

    from vlp.parallel.contrastive import contrastive_loss
    from vlp.parallel.mesh import make_mesh
    from vlp.parallel.sharding import batch_sharding, replicated

    mesh = make_mesh()
    loss = contrastive_loss(kind, mesh=mesh, implementation=implementation)
    settings = {"bias": jnp.float32(-10)} if kind == "sigmoid" else {}

    def mean(zimg, ztxt, scale):
        return loss(zimg, ztxt, scale=scale, **settings).mean()

    rows, everywhere = batch_sharding(mesh), replicated(mesh)
    embedding = jax.ShapeDtypeStruct((pairs, width), jnp.bfloat16, sharding=rows)
    scale = jax.ShapeDtypeStruct((), jnp.float32, sharding=everywhere)
    step = jax.jit(
        jax.value_and_grad(mean, argnums=(0, 1, 2)),
        out_shardings=(everywhere, (rows, rows, everywhere)),
    )
    compiled = step.lower(embedding, embedding, scale).compile()
    return compiled.memory_analysis().temp_size_in_bytes / 1e6


if __name__ == "__main__":
    main()
