"""How long a training takes to its first step: layers in a loop, and one after the other.

  python benchmarks/first_step.py --model ViT-L/14

Tracing, lowering, compiling and running one step of `vlp train` with all its state, float32, on the
CPU, with no compilation kept from before. Each side has a process of its own; they alternate, and
of each round a ratio is taken. "Unrolled" has `unroll` set to the depth of each tower: the compiled
program has every layer by itself. "One by one" traces every layer by itself as well, as models
without a loop do.
"""

import argparse
import json
import operator
import os
import statistics
import subprocess
import sys
import time
from typing import Any

SIDES = ("one by one", "unrolled", "in a loop")


def main() -> None:
    """Runs all rounds and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="ViT-L/14", help="of OpenAI's CLIP")
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--worker", choices=SIDES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        print(json.dumps(work(args.model, args.batch_size, args.worker)))
        return
    found = [{side: measured(side) for side in SIDES} for _ in range(args.rounds)]
    print(
        "| layers | first step, s | range | of these before it runs | instructions | "
        "in a loop / this | before it runs |"
    )
    print("|---" * 7 + "|")
    for side in SIDES:
        first = [each[side]["first"] for each in found]
        before = statistics.median(each[side]["before"] for each in found)
        print(
            f"| {side} | {statistics.median(first):.1f} | {min(first):.1f}-{max(first):.1f} | "
            f"{before:.1f} | {found[0][side]['instructions']:,} | {ratio(found, side, 'first')} | "
            f"{ratio(found, side, 'before')} |"
        )


def ratio(found: list[dict[str, dict[str, float]]], side: str, what: str) -> str:
    """The median of that of the loop over that of a side, and the range."""
    ratios = [each["in a loop"][what] / each[side][what] for each in found]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"


def measured(side: str) -> dict[str, float]:
    """What a side's process found."""
    command = [sys.executable, *sys.argv, f"--worker={side}"]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, encoding="utf-8", check=True)
    return json.loads(said.stdout.splitlines()[-1])


def work(model: str, size: int, side: str) -> dict[str, float]:
    """Seconds from a planned training to the end of its first step, and until it could run."""
    os.environ["JAX_PLATFORMS"] = "cpu"
    import jax
    from ml_collections import ConfigDict

    from experiments import own_data
    from vlp.parallel.mesh import make_mesh
    from vlp.parallel.sharding import put_batch
    from vlp.planning.measuring import drawn
    from vlp.run.build import plan
    from vlp.run.fields import batch_shapes

    config = own_data.get_config(f"data=none.tar,model=clip/{model},batch={size},length=77")
    config.tokenizer.vocab_size = 49408
    if side == "one by one":
        jax.lax.scan = one_by_one
    if side == "unrolled":
        config.model.image = config.model.text = ConfigDict(dict(unroll=1000))
    mesh = make_mesh(devices=jax.devices()[:1])
    training = plan(config, samples_per_epoch=size, mesh=mesh).training
    shapes = batch_shapes(config, training.fields)
    state, batch = jax.block_until_ready((training.init(), put_batch(drawn(shapes), mesh)))
    begun = time.perf_counter()
    compiled = training.lower(shapes).compile()
    before = time.perf_counter() - begun
    jax.block_until_ready(compiled(state, batch, training.frozen))
    first = time.perf_counter() - begun
    return dict(first=first, before=before, instructions=compiled.as_text().count(" = "))


def one_by_one(function: Any, carry: Any, xs: Any, *_: Any, **__: Any) -> tuple[Any, Any]:
    """`jax.lax.scan` as a loop of Python."""
    import jax
    import jax.numpy as jnp

    found = []
    for place in range(len(jax.tree.leaves(xs)[0])):
        carry, each = function(carry, jax.tree.map(operator.itemgetter(place), xs))
        found.append(each)
    return carry, jax.tree.map(lambda *each: jnp.stack(each), *found)


if __name__ == "__main__":
    main()
