"""The field's reference runs planned for machines of their papers' size: a table by the compiler.

  python benchmarks/reference_runs.py [--only NAME ...] [--on TOPOLOGY ...] [--keep FOLDER]

Needs `vlp[tpu]` and JAX's CUDA plugin; runs `vlp plan` once a line and nothing else, no data and no
weights. What a run begins with is left out, as its shapes are the config's. Memory is that of one
device, times are estimates of what never ran: "roofline" over the compiled instructions, "cycles"
as the TPU's compiler estimates them. `--keep` leaves each plan's figures in a folder and takes
those that are there.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

# Without the weights that a run begins with.
BARE = ("init.path=",)
# Experiment and arguments; millions of pairs in the paper's data, where lengths are in epochs;
# flags for all machines; machines with flags, the first of the size of the paper's.
RUNS: dict[str, tuple[str, int, Sequence[str], dict[str, Sequence[str]]]] = {
    "CLIP B/32": ("clip.py:model=ViT-B/32", 400, (), {"a100:256": ()}),
    "CLIP B/16": ("clip.py:model=ViT-B/16", 400, (), {"a100:256": (), "h100:64": ()}),
    "CLIP L/14": (
        "clip.py:model=ViT-L/14", 400, (), {"a100:256": (), "v5e:16x16": ("mesh.fsdp=16",)},
    ),
    "CLIP L/14-336": (
        "clip.py:model=ViT-L/14-336,init=RUN", 400, BARE, {"a100:256": (), "h100:64": ()},
    ),
    "CLIP RN50x4": ("clip.py:model=RN50x4", 400, (), {"a100:256": (), "h100:64": ()}),
    "OpenCLIP H/14": ("openclip.py:model=ViT-H/14", 0, (), {"a100:824": (), "v4:4x8x8": ()}),
    "OpenCLIP bigG/14": ("openclip.py:model=ViT-bigG/14", 0, (), {"a100:512": (), "h100:256": ()}),
    "OpenCLIP bigG/14, all patches": (
        "openclip.py:model=ViT-bigG/14", 0, ("objective.patch_drop=0.0",), {"a100:512": ()},
    ),
    "SigLIP B/16": ("siglip.py:model=ViT-B/16", 0, (), {"v4:2x4x4": (), "h100:8": ()}),
    "SigLIP L/16": ("siglip.py:model=ViT-L/16", 0, (), {"h100:64": (), "v5p:4x4x4": ()}),
    "SigLIP So400m/14": ("siglip.py:model=So400m/14", 0, (), {"h100:64": (), "v5p:4x4x4": ()}),
    "LiT L/16": (
        "lit.py:image=ViT,bert=BERT", 0, (*BARE, "init.text.path="),
        {"v4:4x4x4": (), "h100:8": ()},
    ),
    "FLIP L/16, masked": (
        "flip.py:stage=masked,bert=BERT", 0, (), {"v4:4x4x8": (), "h100:64": ()},
    ),
    "FLIP L/16, tuned": (
        "flip.py:stage=tuned,bert=BERT,init=RUN", 0, BARE, {"v4:4x4x8": (), "h100:64": ()},
    ),
    "CLIPA H/14, 84 pixels": (
        "clipa.py:stage=small,bert=BERT", 0, (), {"v4:4x4x8": (), "h100:64": ()},
    ),
    "CLIPA H/14, 224 pixels": (
        "clipa.py:stage=tuned,bert=BERT,init=RUN", 0, BARE, {"v4:4x4x8": (), "h100:64": ()},
    ),
    "CLIPA H/14, 336 pixels": (
        "clipa.py:stage=large,bert=BERT,init=RUN", 0, BARE, {"v4:4x4x8": (), "h100:64": ()},
    ),
    "OpenVision 2 L/14, 84 pixels": (
        "openvision2.py:stage=small,bert=BERT", 0, (), {"v4:4x8x8": (), "h100:64": ()},
    ),
    "OpenVision 2 L/14, 224 pixels": (
        "openvision2.py:stage=tuned,bert=BERT,init=RUN", 0, BARE, {"v4:4x8x8": (), "h100:64": ()},
    ),
    "ALBEF": ("albef.py:bert=BERT", 14, BARE, {"a100:8": (), "h100:8": ()}),
    "BLIP B/16": ("blip.py:bert=BERT", 14, BARE, {"a100:32": (), "h100:32": ()}),
    "CoCa 2b": ("coca.py:size=2b", 0, (), {"v4:8x16x16": ("mesh.fsdp=16",), "h100:512": ()}),
    "VLMo, pairs": ("vlmo.py:stage=pairs,tokenizer=BERT", 0, (), {"h100:64": (), "a100:64": ()}),
}  # fmt: skip
COLUMNS = (
    "run", "pairs", "machine", "mesh", "GB a device", "of", "fits", "step by roofline, ms",
    "by cycles, ms", "MFU", "pairs/s", "days", "chip-hours",
)  # fmt: skip


def main() -> None:
    """Plans every line and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=RUNS, default=list(RUNS), metavar="NAME")
    parser.add_argument("--on", nargs="+", metavar="TOPOLOGY", help="these machines alone")
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    args = parser.parse_args()
    print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|")
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        for name in args.only:
            run, millions, shared, machines = RUNS[name]
            for topology, own in machines.items():
                if args.on and topology not in args.on:
                    continue
                file = folder / f"{name} on {topology}.json".replace("/", "-").replace(" ", "_")
                if not file.is_file():
                    plan(run, millions, topology, (*shared, *own), file=file)
                print(row(name, json.loads(file.read_text())), flush=True)


def plan(run: str, millions: int, topology: str, flags: Sequence[str], *, file: Path) -> None:
    """Writes the figures of one plan to a file."""
    comma = "," if ":" in run else ":"
    command = [
        *(sys.executable, "-m", "vlp.cli.main", "plan"),
        *(f"--config=experiments/{run}{comma}data=none.tar", f"--topology={topology}"),
        *(f"--config.{flag}" for flag in flags),
        *([f"--samples={millions * 10**6}"] if millions else []),
        f"--json={file}",
    ]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)


def row(name: str, plan: dict) -> str:
    """One line of the table."""
    memory, spent = plan["memory"], plan.get("estimate")
    times = ["-"] * 6
    if spent:  # none is made of a program that the compiler refuses for its size
        cycles = spent["compiler_seconds"]
        times = [
            f"{1e3 * spent['seconds']:,.0f}",
            f"{1e3 * cycles:,.0f}" if cycles else "-",
            f"{spent['mfu']:.0%}",
            f"{spent['pairs_per_second']:,.0f}",
            f"{spent['days']:.2g}" if spent["days"] < 10 else f"{spent['days']:.0f}",
            f"{24 * spent['days'] * plan['devices']:,.0f}",
        ]
    cells = [
        name,
        f"{plan['global_batch']:,}",
        plan["topology"],
        " x ".join(f"{axis} {size}" for axis, size in plan["mesh"].items() if size > 1),
        f"{memory['total'] / 1e9:.2f}",
        f"{memory['capacity'] / 1e9:.2f}",
        "yes" if memory["fits"] else "no",
        *times,
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
