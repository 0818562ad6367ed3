"""Memory of a contrastive loss and its gradient by the compiler's count; nothing is run.

  python benchmarks/contrastive_memory.py --devices 8 --pairs 8192 32768 131072 --width 512
  python benchmarks/contrastive_memory.py --topology h100:8 --pairs 1048576 --width 768 --forms ring

Prints, for each number of pairs, the temporary memory of one device in MB for the forms of
`vlp.parallel.contrastive.contrastive_loss`, and the FLOPs of their products by dtype over 8 N^2 d,
what forward and backward pass take at least if no logits are kept. Float32 embeddings in, as towers
give them, bfloat16 operands, float32 logits. With `--topology` it is compiled for a machine that is
not here, as `vlp plan` does.
"""

import argparse
import dataclasses
import os
from typing import Any

FORMS = ("dense", "gathered", "ring")


def main() -> None:
    """Compiles each form for each size and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", type=int, default=8, help="host devices to pretend")
    parser.add_argument("--topology", help="compile for these devices instead, see vlp plan")
    parser.add_argument("--pairs", type=int, nargs="+", default=[8192, 32768, 131072])
    parser.add_argument("--width", type=int, default=512, help="width of the embeddings")
    parser.add_argument("--kind", choices=("softmax", "sigmoid"), default="softmax")
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=FORMS)
    args = parser.parse_args()
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["JAX_NUM_CPU_DEVICES"] = str(args.devices)
    topology = machine(args.topology)
    print(f"{args.kind}, {topology.name}, width {args.width}: temporary MB of one device\n")
    print("| pairs | " + " | ".join(f"{form} | FLOPs / 8 N^2 d" for form in args.forms) + " |")
    print("|---" * (1 + 2 * len(args.forms)) + "|")
    for pairs in args.pairs:
        cells = [
            compiled(args.kind, form, topology, pairs=pairs, width=args.width)
            for form in args.forms
        ]
        print(f"| {pairs:,} | " + " | ".join(cells) + " |", flush=True)


def machine(name: str | None) -> Any:
    """That of a name, or this one."""
    import jax

    from vlp.planning.hardware import CHIPS
    from vlp.planning.topology import Topology, open_topology

    if name:
        return open_topology(name)
    devices = jax.devices()
    chip = dataclasses.replace(CHIPS["h100"], kind="cpu")  # of which no time is asked
    return Topology(f"{len(devices)} host devices", chip, (len(devices),), devices)


def compiled(kind: str, form: str, topology: Any, *, pairs: int, width: int) -> str:
    """Two cells: temporary memory of a device for value and gradient, and FLOPs by dtype."""
    import jax
    import jax.numpy as jnp

    from vlp.parallel.contrastive import contrastive_loss
    from vlp.parallel.mesh import make_mesh
    from vlp.parallel.sharding import batch_sharding, replicated
    from vlp.planning.reading import read_step

    mesh = make_mesh(devices=topology.devices)
    loss = contrastive_loss(kind, mesh=mesh, implementation=form)
    settings = {"bias": jnp.float32(-10)} if kind == "sigmoid" else {}

    def mean(zimg, ztxt, scale):
        return loss(zimg, ztxt, scale=scale, dtype="bfloat16", **settings).mean()

    rows, everywhere = batch_sharding(mesh), replicated(mesh)
    embedding = jax.ShapeDtypeStruct((pairs, width), jnp.float32, sharding=rows)
    scale = jax.ShapeDtypeStruct((), jnp.float32, sharding=everywhere)
    step = jax.jit(
        jax.value_and_grad(mean, argnums=(0, 1, 2)),
        out_shardings=(everywhere, (rows, rows, everywhere)),
    )
    platforms = (topology.chip.kind,)
    lowered = step.trace(embedding, embedding, scale).lower(lowering_platforms=platforms)
    read = read_step(lowered, mesh=mesh, topology=topology)
    least = 8 * pairs**2 * width / mesh.size
    shares = ", ".join(
        f"{dtype} {count / least:.2f}" for dtype, count in read.estimate.flops.items()
    )
    return f"{read.answer.temporary / 1e6:,.1f} | {shares}"


if __name__ == "__main__":
    main()
