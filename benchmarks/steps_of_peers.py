"""Our training step beside those of JAX trainers: one compiler, one machine that is not here.

  python benchmarks/steps_of_peers.py --big_vision DIR --openvision DIR --clip_jax DIR
  python benchmarks/steps_of_peers.py --only vlp --topology v5e:16x16
  python benchmarks/steps_of_peers.py --openvision DIR --published

Needs `vlp[tpu]`, JAX's CUDA plugin, flax, and for clip-jax einshape. Each DIR is a checkout of the
trainer, whose own `main` makes the step (see `foreign_steps/captured.py`); nothing is run. All
compile the two towers of SigLIP B/16 with 64 tokens of a vocabulary of 32,000, bfloat16 where they
have it, Adam with float32 moments, every layer computed again, parameters on every device.

`--published` compiles OpenVision's steps of L/14 for 32 chips of a v4 and prints their memory and
pace beside what the authors measured.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

TOPOLOGIES = {"v5e:16x16": 32768, "h100:8": 4096}  # pairs of the global batch
CHECKOUTS = {  # where from, and the folders in which its modules are
    "big_vision": ("https://github.com/google-research/big_vision", ""),
    "openvision": ("https://github.com/UCSC-VLAA/OpenVision", "", "src"),
    "clip_jax": ("https://github.com/borisdayma/clip-jax", "", "training"),
}
STEPS = ("vlp", "big_vision", "clip_jax", "vlp softmax", "openvision")
# Version, pairs, pixels, peak GB a chip: https://arxiv.org/abs/2509.01644, table 4, on v4-64, which
# is 32 chips. The last two are the first stage of training, at the pairs a chip that it has.
PUBLISHED = {
    "v1 2k": (1, 2048, 224, "24.5"),
    "v1 4k": (1, 4096, 224, "does not fit"),
    "v2 2k": (2, 2048, 224, "13.8"),
    "v2 4k": (2, 4096, 224, "22.1"),
    "v2 8k": (2, 8192, 224, "28.4"),
    "v1 84 px": (1, 4096, 84, "-"),
    "v2 84 px": (2, 4096, 84, "-"),
}
HEAD = (
    "step", "given", "temporaries", "peak", "model TFLOPs", "TFLOPs", "GB moved", "MB exchanged",
    "largest in a loop", "ms, roofline", "of these exchanging", "ms, cycles",
)  # fmt: skip
HEAD_PUBLISHED = (
    "step", "published GB", "given + temporaries", "peak", "pairs/s a chip, roofline", "cycles",
)  # fmt: skip


def main() -> None:
    """Compiles each step in a process of its own, and prints a row for it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, (url, *_) in CHECKOUTS.items():
        parser.add_argument(f"--{name}", type=Path, metavar="DIR", help=f"a checkout of {url}")
    parser.add_argument("--topology", nargs="+", choices=TOPOLOGIES, default=[*TOPOLOGIES])
    parser.add_argument("--only", nargs="+", metavar="STEP", help=", ".join((*STEPS, *PUBLISHED)))
    parser.add_argument("--published", action="store_true", help="OpenVision's own figures instead")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    known = PUBLISHED if args.published else STEPS
    if unknown := sorted(set(args.only or ()) - set(known)):
        parser.error(f"--only must name some of {', '.join(known)}, got {unknown[0]!r}")
    if args.worker:
        print(json.dumps(work(args, *args.worker)))
        return
    for step in args.only or known:
        find(args, step)
    topologies = ["v4:2x4x4"] if args.published else args.topology
    head, as_row = (HEAD_PUBLISHED, row_published) if args.published else (HEAD, row)
    for topology in topologies:
        print(f"\n{topology}\n\n| {' | '.join(head)} |\n{'|---' * len(head)}|")
        for step in args.only or known:
            found = measured(step, topology)
            print(f"| {step} | {found.get('refused') or as_row(step, found)} |", flush=True)


def measured(step: str, topology: str) -> Mapping[str, Any]:
    """The figures of a step, by a process that has the compiler to itself."""
    command = [sys.executable, *sys.argv, "--worker", step, topology]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, encoding="utf-8", check=True)
    return json.loads(said.stdout.splitlines()[-1])


def row(step: str, found: Mapping[str, Any]) -> str:
    """Cells of a step: memory in GB, time in ms, all of one device and one step."""
    del step
    cells = [
        *(f"{found[kind] / 1e9:.2f}" for kind in ("arguments", "temporary", "peak")),
        *(f"{found[kind] / 1e12:.2f}" for kind in ("model_flops", "flops")),
        f"{found['bytes'] / 1e9:.1f}",
        *(f"{found[kind] / 1e6:,.1f}" for kind in ("exchanged", "largest")),
        *(f"{1e3 * found[kind]:.1f}" for kind in ("seconds", "exposed")),
        f"{1e3 * found['cycles']:.1f}" if found["cycles"] else "-",  # of a GPU none are estimated
    ]
    return " | ".join(cells)


def row_published(step: str, found: Mapping[str, Any]) -> str:
    """Cells of a published step: memory in GB beside the authors', and the pace."""
    _, pairs, _, published = PUBLISHED[step]
    share = pairs / found["devices"]  # of a chip
    cells = [
        published,
        *(f"{size / 1e9:.1f}" for size in (found["arguments"] + found["temporary"], found["peak"])),
        *(f"{share / found[kind]:.0f}" for kind in ("seconds", "cycles")),
    ]
    return " | ".join(cells)


def work(args: argparse.Namespace, step: str, topology: str) -> Mapping[str, Any]:
    """Traces, lowers, compiles and reads a step."""
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")  # none of them opens a TPU

    from vlp.planning.reading import read_step
    from vlp.planning.topology import open_topology

    machine = open_topology(topology)
    traced = _traced(args, step, TOPOLOGIES.get(topology, 0))
    made = traced(machine.devices, remat="full")
    lowered = made.traced.lower(lowering_platforms=(machine.chip.kind,))
    try:
        read = read_step(lowered, mesh=made.mesh, topology=machine)
    except MemoryError as error:
        return {"refused": str(error).partition("\n")[0]}
    return dict(
        devices=made.mesh.size,
        arguments=read.answer.arguments,
        temporary=read.answer.temporary,
        peak=read.answer.peak,
        model_flops=traced(machine.devices, remat="none").flops / made.mesh.size,
        flops=sum(read.estimate.flops.values()),
        bytes=read.estimate.bytes,
        exchanged=sum(each.bytes * each.times for each in read.collectives),
        largest=max((each.largest for each in read.collectives if each.depth), default=0),
        seconds=read.estimate.seconds,
        exposed=read.estimate.exposed,
        cycles=read.estimate.compiler_seconds,
    )


def _traced(args: argparse.Namespace, step: str, pairs: int) -> Callable[..., Any]:
    """What traces a step over devices, by its name."""
    import functools

    find(args, step)
    if step in PUBLISHED:
        from foreign_steps import openvision_step

        version, pairs, size, _ = PUBLISHED[step]
        return functools.partial(openvision_step.published, version=version, pairs=pairs, size=size)
    if step == "big_vision":
        from foreign_steps import big_vision_step as module
    elif step == "clip_jax":
        from foreign_steps import clip_jax_step as module
    elif step == "openvision":
        from foreign_steps import openvision_step as module
    else:
        from foreign_steps import vlp_step as module

    settings = {"objective": "clip"} if step == "vlp softmax" else {}
    return functools.partial(module.traced, pairs=pairs, **settings)


def find(args: argparse.Namespace, step: str) -> None:
    """Lets Python find a trainer's modules in its checkout; ends where there is none."""
    name = "openvision" if step in PUBLISHED else step
    if name not in CHECKOUTS:
        return
    folder, (url, *below) = getattr(args, name), CHECKOUTS[name]
    if folder is None or not folder.is_dir():
        raise SystemExit(
            f"--{name} must be a checkout of the trainer, got {folder}; git clone {url}, or leave "
            "it out with --only"
        )
    sys.path[:0] = [str(folder / each) for each in below]


if __name__ == "__main__":
    main()
