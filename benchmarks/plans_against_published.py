"""Plans beside what was published of the same models on the same chips: one table.

  python benchmarks/plans_against_published.py [--only NAME ...]

Needs `vlp[tpu]` and JAX's CUDA plugin; runs `vlp plan` once a line and nothing else. Published
paces are of whole trainings, data and network with them; plans are of the step alone, so that they
should be ahead, never behind. "Ratio" is planned over published time: under 1 where the plan is
faster.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

# Samples a second of all GPUs, and how many of them, of the trainings of
# https://github.com/LAION-AI/scaling-laws-openclip (trained_models_info.csv).
_LAION = "scaling-laws-openclip"
# Section 4.2 of https://arxiv.org/abs/2303.15343: the largest batch of a Base model on four chips.
_SIGLIP = "SigLIP, 4.2"


class Line(NamedTuple):
    """One model on one machine.

    Attributes:
        model: preset and further arguments of own_data.py.
        topology: the machine, with as many pairs a device as published.
        pace: pairs a second of one device; 0 where none was published.
        memory: what was published of it.
        source: where.
    """

    model: str
    topology: str
    pace: float
    memory: str
    source: str


LINES = {
    "B/32, 256 a GPU": Line(
        "clip/ViT-B/32,batch=2048,length=77", "a100:8", 108_845 / 128, "fits 40 GB", _LAION
    ),
    "B/16, 512 a GPU": Line(
        "clip/ViT-B/16,batch=4096,length=77,remat=full",
        "a100:8",
        54_581 / 176,
        "fits 40 GB",
        _LAION,
    ),
    "L/14, 448 a GPU": Line(
        "clip/ViT-L/14,batch=3584,length=77,remat=full",
        "a100:8",
        35_525 / 200,
        "-",
        _LAION,
    ),
    "H/14, 96 a GPU": Line(
        "clip/ViT-H/14,batch=768,length=77,remat=full", "a100:8", 34_608 / 824, "-", _LAION
    ),
    "SigLIP B/16, 1024 a chip": Line(
        "siglip/ViT-B/16,batch=4096,length=64", "v4:2x2x1", 0.0, "fits 32 GiB", _SIGLIP
    ),
    "CLIP B/16, 1024 a chip": Line(
        "clip/ViT-B/16,batch=4096,length=64", "v4:2x2x1", 0.0, "does not fit 32 GiB", _SIGLIP
    ),
}


def main() -> None:
    """Plans every line and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=LINES, default=list(LINES))
    args = parser.parse_args()
    print(
        "| model | chip | published pairs/s a device | planned | ratio of times | "
        "published memory | planned, GB | source |\n" + "|---" * 8 + "|"
    )
    for name in args.only:
        print(row(name, LINES[name]), flush=True)


def row(name: str, line: Line) -> str:
    """One line of the table."""
    plan = planned(line)
    devices, spent = plan["devices"], plan.get("estimate")
    published, pace, ratio = "-", "-", "-"
    if spent:
        each = spent["pairs_per_second"] / devices
        pace = f"{each:,.0f}"
        if line.pace:
            published, ratio = f"{line.pace:,.0f}", f"{line.pace / each:.2f}"
    chip = line.topology.partition(":")[0]
    memory = f"{plan['memory']['total'] / 1e9:.1f}"
    return (
        f"| {name} | {chip} | {published} | {pace} | {ratio} | {line.memory} | {memory} | "
        f"{line.source} |"
    )


def planned(line: Line) -> dict:
    """The figures of `vlp plan`."""
    config = f"experiments/own_data.py:data=none.tar,model={line.model},dtype=bfloat16"
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "plan.json"
        subprocess.run(
            [
                *(sys.executable, "-m", "vlp.cli.main", "plan", f"--config={config}"),
                *(f"--topology={line.topology}", "--samples=400000000", f"--json={file}"),
                "--config.tokenizer.vocab_size=49408",
            ],
            stdout=subprocess.DEVNULL,
            check=True,
        )
        return json.loads(file.read_text())


if __name__ == "__main__":
    main()
