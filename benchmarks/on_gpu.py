"""A training step on the GPU that is here: planned, run, and open_clip's compiled one after it.

  python benchmarks/on_gpu.py

Needs JAX with its CUDA plugin; `--peer` needs `vlp[peers]` with a torch for that GPU. Some eight
minutes. Each side of each model has a process of its own. Ours is the step of `vlp train` in
bfloat16, with its guard, its metrics and its schedule; theirs is open_clip's model under
`torch.compile`, in bfloat16 by autocast, with gradient clipping and fused AdamW. The pictures and
captions are drawn once; a step's time is the median. MFU is the FLOPs that forward and backward
pass need, over the card's dense bfloat16 peak in that time. Without a GPU the same runs on the CPU,
to see that it works: `--models ViT-B/32 --batch-sizes 4 --steps 1`.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from typing import Any

SIDES = ("vlp", "open_clip")


def main() -> None:
    """Runs every side and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["ViT-B/16", "ViT-L/14"])
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[512, 256], help="of each")
    parser.add_argument("--steps", type=int, default=10, help="that are timed")
    parser.add_argument("--remat", default="none", help="as in a config's model.remat")
    parser.add_argument("--peer", action="store_true", help="run open_clip too")
    parser.add_argument("--worker", choices=SIDES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        work = our_step if args.worker == "vlp" else open_clip_step
        print(json.dumps(work(args.models[0], args.batch_sizes[0], args)))
        return
    print(
        "| model | batch | ms | MFU | GB, planned | GB, used | planned / used | "
        "planned ms / ms, roofline | with measured products | open_clip ms | open_clip / vlp |"
    )
    print("|---" * 11 + "|")
    device = ""
    for model, size in zip(args.models, args.batch_sizes, strict=True):
        ours = measured("vlp", model, size)
        theirs = measured("open_clip", model, size) if args.peer else {}
        print(row(model, size, ours, theirs), flush=True)
        device = f"{ours['device']}; {ours['versions']}; remat {args.remat}"
        device += f"; torch {theirs['torch']}" if theirs else ""
    print(f"\n{device}")


def measured(side: str, model: str, size: int) -> dict[str, Any]:
    """What a side's process found."""
    command = [sys.executable, *sys.argv, f"--worker={side}", "--models", model]
    command += ["--batch-sizes", str(size)]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, encoding="utf-8", check=True)
    return json.loads(said.stdout.splitlines()[-1])


def row(model: str, size: int, ours: dict[str, Any], theirs: dict[str, Any]) -> str:
    """A line of the table; what is not known stays empty."""
    taken, peak, used = ours["seconds"], ours["peak"], ours["used"]
    cells = [model, str(size), f"{1e3 * taken:.1f}"]
    cells.append(f"{ours['flops'] / taken / peak:.1%}" if peak else "")
    cells.append(f"{ours['planned'] / 1e9:.2f}")
    cells += [f"{used / 1e9:.2f}", f"{ours['planned'] / used:.2f}"] if used else ["", ""]
    cells += [f"{each / taken:.2f}" if each else "" for each in ours["estimates"]]
    cells += [f"{1e3 * theirs['seconds']:.1f}", f"{theirs['seconds'] / taken:.2f}"] * bool(theirs)
    return "| " + " | ".join(cells + [""] * (11 - len(cells))) + " |"


def our_step(model: str, size: int, args: argparse.Namespace) -> dict[str, Any]:
    """Our step planned for one of the devices that are here, and run on it."""
    import jax

    from experiments import clip
    from vlp.planning import measuring
    from vlp.run.planned import prepared
    from vlp.version import versions

    config = clip.get_config(f"model={model},data=none.tar,batch={size}")
    config.model.remat = args.remat
    topology = measuring.here(jax.devices()[:1])
    made = prepared(config, topology, samples_per_epoch=1000 * size)
    plan, taken = measuring.measure(
        made.training, made.shapes, topology, low=made.low, steps=args.steps
    )
    spent, known = plan.estimate, bool(topology.chip.peak)
    return dict(
        seconds=taken.median,
        used=taken.peak,
        planned=plan.memory.total,
        estimates=[spent.seconds, spent.measured_seconds] if spent and known else [0, 0],
        flops=plan.model_flops,
        peak=plan.peak if known else 0,
        device=topology.name,
        versions=versions(),
    )


def open_clip_step(model: str, size: int, args: argparse.Namespace) -> dict[str, Any]:
    """open_clip's step, compiled."""
    import numpy as np
    import torch
    from encoders_against_open_clip import import_open_clip

    open_clip = import_open_clip()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_float32_matmul_precision("high")
    torch.manual_seed(0)
    net = open_clip.create_model(model.replace("/", "-"), device=device).train()
    net.set_grad_checkpointing(args.remat != "none")
    compiled, loss = torch.compile(net), open_clip.ClipLoss()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4, betas=(0.9, 0.98), fused=True)
    rng = np.random.default_rng(0)
    image = torch.from_numpy(rng.standard_normal((size, 3, 224, 224), np.float32)).to(device)
    text = torch.from_numpy(rng.integers(1, 49000, (size, 77))).to(device)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device, dtype=torch.bfloat16):
            value = loss(*compiled(image, text))
        value.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()

    seconds = []
    for _ in range(args.steps + 3):  # three until all is compiled and chosen
        begun = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - begun)
    return dict(seconds=statistics.median(seconds[3:]), torch=torch.__version__)


if __name__ == "__main__":
    main()
