"""A step of the softmax loss, run here on one device: value, gradients, time and peak memory.

  python benchmarks/contrastive_step.py --pairs 131072 --width 512

Random unit vectors, float32. The form is the one that "auto" takes. Beside what the process held at
most stand the logits, of which a dense step holds four matrices at least (logits, the softmax both
ways, their gradient). The loss of unrelated pairs is a little over the logarithm of their number.
"""

import argparse
import math
import os
import resource
import time


def main() -> None:
    """Runs the step once, compiling included, and prints a line of a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=131072)
    parser.add_argument("--width", type=int, default=512, help="width of the embeddings")
    args = parser.parse_args()
    os.environ["JAX_PLATFORMS"] = "cpu"
    import jax
    import jax.numpy as jnp
    import numpy as np

    from vlp.parallel.contrastive import contrastive_loss

    loss, rng = contrastive_loss("softmax"), np.random.default_rng(0)
    zimg, ztxt = rng.standard_normal((2, args.pairs, args.width), np.float32)
    zimg, ztxt = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (zimg, ztxt))

    def mean(zimg, ztxt, scale):
        return jnp.mean(loss(zimg, ztxt, scale=scale))

    before, begun = peak(), time.perf_counter()
    step = jax.jit(jax.value_and_grad(mean, argnums=(0, 1, 2)))
    value, gradients = jax.block_until_ready(step(zimg, ztxt, jnp.float32(20)))
    seconds = time.perf_counter() - begun
    finite = all(bool(jnp.all(jnp.isfinite(g))) for g in gradients)
    print("| pairs | width | loss | log pairs | gradients | s | peak GB | before | logits GB |")
    print("|---" * 9 + "|")
    print(
        f"| {args.pairs:,} | {args.width} | {float(value):.4f} | {math.log(args.pairs):.4f} | "
        f"{'finite' if finite else 'not finite'} | {seconds:,.0f} | {peak():.2f} | {before:.2f} | "
        f"{4 * args.pairs**2 / 1e9:,.1f} |"
    )


def peak() -> float:
    """The most memory that this process has held, GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


if __name__ == "__main__":
    main()
