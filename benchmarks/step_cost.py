"""What a training step costs: measured time over that of CLIP, beside the share of the FLOPs.

  GLIBC_TUNABLES=glibc.malloc.hugetlb=1 python benchmarks/step_cost.py --models clip coca albef blip

The emoji experiment's models, sizes and optimiser, on batches made once. The models take turns, a
step each, so that whatever else slows the machine slows all; ratios are taken within a round, and
the median of those is shown. "Model FLOPs" are what forward and backward pass need, counted from
the traced step, recomputation apart; "compiler FLOPs" are those of the compiled program, whose
loops are unrolled here. "Time over FLOPs" says how much longer a step takes than its model FLOPs
would at CLIP's efficiency; 1.00 is as efficient as CLIP.
"""

import argparse
import dataclasses
import platform
import statistics
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from experiments import emoji
from vlp.parallel.sharding import put_batch
from vlp.run.build import Plan, plan
from vlp.run.fields import batch_shapes
from vlp.version import versions


@dataclasses.dataclass
class Candidate:
    """A model's compiled step, its state, and the seconds that its steps took."""

    name: str
    step: Any
    state: Any
    batch: Any
    model_flops: float
    compiler_flops: float
    gigabytes: float
    seconds: list[float]


def main() -> None:
    """Measures all models and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["clip", "coca", "albef", "blip"])
    parser.add_argument("--batch-size", type=int, default=256, help="pairs a step")
    parser.add_argument("--repeats", type=int, default=20)
    args = parser.parse_args()
    configs = {name: emoji.get_config(f"model={name}") for name in args.models}
    candidates = [prepare(name, configs[name], args.batch_size) for name in args.models]
    take_turns(candidates, args.repeats)
    print(f"batch {args.batch_size}, {platform.machine()}, {jax.devices()[0].device_kind}")
    print(f"{versions()}\n")
    print(
        "| model | step, ms | range | model GFLOPs | compiler GFLOPs | FLOPs / CLIP | "
        "time / CLIP | middle half | time over FLOPs |\n|---|---|---|---|---|---|---|---|---|"
    )
    for candidate in candidates:
        print(row(candidate, candidates[0]))


def prepare(name: str, config: Any, batch_size: int) -> Candidate:
    """Compiles a model's step and takes it once."""
    config.train.global_batch_size = batch_size
    if "queue_size" in config.objective:
        config.objective.queue_size = 4 * batch_size
    planned: Plan = plan(config, samples_per_epoch=100 * batch_size)
    training = planned.training
    shapes = batch_shapes(config, training.fields)
    compiled = training.lower(shapes).compile()
    candidate = Candidate(
        name=name,
        step=lambda state, batch: compiled(state, batch, training.frozen),
        state=training.init(),
        batch=put_batch(made_up(shapes, config), training.mesh),
        model_flops=training.flops(shapes),
        compiler_flops=compiled.cost_analysis()["flops"],
        gigabytes=gigabytes(compiled.memory_analysis()),
        seconds=[],
    )
    take_a_step(candidate)
    candidate.seconds.clear()
    return candidate


def gigabytes(memory: Any) -> float:
    """What a step holds by the compiler's own account: state, batch, and all in between."""
    held = memory.argument_size_in_bytes + memory.temp_size_in_bytes
    return (held + memory.output_size_in_bytes - memory.alias_size_in_bytes) / 1e9


def take_turns(candidates: Sequence[Candidate], repeats: int) -> None:
    """A step each, so many times."""
    for _ in range(repeats):
        for candidate in candidates:
            take_a_step(candidate)


def made_up(shapes: dict[str, Any], config: Any) -> dict[str, np.ndarray]:
    """A batch of noise with captions of 4 to all tokens."""
    rng = np.random.default_rng(0)
    n, length = shapes["text"].shape
    text = rng.integers(4, config.tokenizer.vocab_size, (n, length), np.int32)
    ends = rng.integers(3, length, n)
    text[np.arange(n), ends] = config.tokenizer.eos_id
    text[np.arange(length)[None] > ends[:, None]] = config.tokenizer.pad_id
    batch = {
        "image": rng.integers(0, 256, shapes["image"].shape, np.uint8),
        "text": text,
        "weight": np.ones(n, np.float32),
        "id": np.arange(n, dtype=np.int32),
    }
    return {key: batch[key] for key in shapes}


def take_a_step(candidate: Candidate) -> None:
    """One step, waited for."""
    start = time.perf_counter()
    candidate.state, metrics = candidate.step(candidate.state, candidate.batch)
    jax.block_until_ready(metrics)
    candidate.seconds.append(time.perf_counter() - start)


def row(candidate: Candidate, clip: Candidate) -> str:
    """One line of the table."""
    milliseconds = [1000 * s for s in candidate.seconds]
    taken = [s / c for s, c in zip(candidate.seconds, clip.seconds, strict=True)]
    low, middle, high = np.quantile(taken, (0.25, 0.5, 0.75))
    flops = candidate.model_flops / clip.model_flops
    return (
        f"| {candidate.name} | {statistics.median(milliseconds):.0f} | {min(milliseconds):.0f} to "
        f"{max(milliseconds):.0f} | {candidate.model_flops / 1e9:.1f} | "
        f"{candidate.compiler_flops / 1e9:.1f} | {flops:.2f} | {middle:.2f} | {low:.2f} to "
        f"{high:.2f} | {middle / flops:.2f} |"
    )


if __name__ == "__main__":
    main()
