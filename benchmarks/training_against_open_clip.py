"""A training step on this machine, ours and open_clip's in turn: towers, loss, gradients, AdamW.

  GLIBC_TUNABLES=glibc.malloc.hugetlb=1 python benchmarks/training_against_open_clip.py

Needs `vlp[peers]`. Both train the same architecture in float32 from random weights on the same
random pictures and captions, with AdamW (0.9, 0.98) and the contrastive loss. Ours is the step of
`vlp train`, with its guard, its metrics and its schedule; theirs is the plainest loop. Each side
has a process of its own, three steps long after one to warm up; they alternate, and of each round a
ratio is taken. Captions are filled up to 77 tokens; "natural captions" gives ours those cut to the
longest of the batch (`config.data.trim_captions`), which changes no loss of a causal tower;
open_clip's tower has one length.
"""

import argparse
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from encoders_against_open_clip import import_open_clip

from experiments import own_data
from vlp.parallel.mesh import make_mesh
from vlp.parallel.sharding import put_batch
from vlp.run.build import plan
from vlp.version import versions

SIDES = ("open_clip", "vlp", "vlp, natural captions")
STEPS = 3
LENGTH, NATURAL = 77, 24  # the longest of 32 captions of web data, begin and end included


def main() -> None:
    """Runs all rounds and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="ViT-B/32", help="of OpenAI's CLIP")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--worker", choices=SIDES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        work(args.worker, args.model, args.batch_size)
        return
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    for _ in range(args.rounds):
        for side, taken in seconds.items():
            taken.append(measured(side))
    print(f"{args.model}, batch {args.batch_size}, float32, {platform.machine()}; {versions()}\n")
    print("| step | ms, median | range | pairs/s | open_clip's time / ours | range |")
    print("|---|---|---|---|---|---|")
    for side, taken in seconds.items():
        ratios = [their / our for their, our in zip(seconds["open_clip"], taken, strict=True)]
        median = statistics.median(taken)
        print(
            f"| {side} | {1e3 * median:.0f} | {1e3 * min(taken):.0f}-{1e3 * max(taken):.0f} | "
            f"{args.batch_size / median:.2f} | {statistics.median(ratios):.2f} | "
            f"{min(ratios):.2f}-{max(ratios):.2f} |"
        )


def measured(side: str) -> float:
    """The seconds of a step, in a process that has the machine's memory to itself."""
    command = [sys.executable, *sys.argv, f"--worker={side}"]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, encoding="utf-8", check=True)
    return float(said.stdout.splitlines()[-1])


def work(side: str, model: str, size: int) -> None:
    """Takes steps, and says how long one of them took, the first apart."""
    if side == "open_clip":
        step = open_clip_step(model.replace("/", "-"), size)
    else:
        step = our_step(model, size, NATURAL if "natural" in side else LENGTH)
    step()
    begun = time.perf_counter()
    for _ in range(STEPS):
        step()
    print((time.perf_counter() - begun) / STEPS)


def our_step(model: str, size: int, length: int) -> Callable[[], None]:
    """A step of `vlp train`; the first compiles it."""
    config = own_data.get_config(f"data=none.tar,model=clip/{model},batch={size},length={LENGTH}")
    config.tokenizer.vocab_size = 49408
    mesh = make_mesh(devices=jax.devices()[:1])
    training = plan(config, samples_per_epoch=size, mesh=mesh).training
    state: Any = training.init()
    pictures, captions = inputs(size)
    batch = put_batch(
        dict(image=pictures, text=captions[:, :length], weight=np.ones(size, np.float32)), mesh
    )

    def step() -> None:
        nonlocal state
        state, metrics = training.step(state, batch)
        jax.block_until_ready((state, metrics))

    return step


def open_clip_step(model: str, size: int) -> Callable[[], None]:
    """A step of open_clip."""
    import torch

    open_clip = import_open_clip()
    torch.manual_seed(0)
    net = open_clip.create_model(model).train()
    loss = open_clip.ClipLoss()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4, betas=(0.9, 0.98), fused=True)
    pictures, captions = inputs(size)
    image = torch.from_numpy(pictures.transpose(0, 3, 1, 2).astype(np.float32) / 255)
    text = torch.from_numpy(captions).long()

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss(*net(image, text)).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()

    return step


def inputs(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Random pictures, and captions of up to 24 tokens that are filled up with zeros to 77."""
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (size, 224, 224, 3)).astype(np.uint8)
    captions = np.zeros((size, LENGTH), np.int32)
    for row, end in enumerate(rng.integers(6, NATURAL + 1, size)):
        captions[row, :end] = rng.integers(1, 49000, end)
        captions[row, 0], captions[row, end - 1] = 49406, 49407
    return pictures, captions


if __name__ == "__main__":
    main()
