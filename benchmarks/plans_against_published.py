"""Plans of the reference runs beside the paces that were published of the same models and chips.

  python benchmarks/reference_runs.py --keep plans
  python benchmarks/plans_against_published.py plans

Published paces are of whole trainings, with data, network and restarts in them; plans are of the
step alone, on as good a network as the data sheets say, so that they should be ahead, never behind.
"Ratio" is planned over published time: 1 where they agree, under 1 where the plan is faster.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

# samples_per_sec in trained_models_info.csv of https://github.com/LAION-AI/scaling-laws-openclip
_LAION = "scaling-laws-openclip"


class Point(NamedTuple):
    """What was published of one model.

    Attributes:
        stages: names of reference runs, and billions of samples of each.
        topology: on which they are planned.
        pace: pairs a second of one device, over all stages.
        told: of the published run.
        source: of the pace.
    """

    stages: Mapping[str, float]
    topology: str
    pace: float
    told: str
    source: str


POINTS = (
    Point({"CLIP B/32": 1}, "a100:256", 108_845 / 128, "128 A100, 256 pairs each", _LAION),
    Point({"CLIP B/16": 1}, "a100:256", 134_240 / 344, "344 A100, 256 pairs each", _LAION),
    Point({"CLIP L/14": 1}, "a100:256", 35_525 / 200, "200 A100, 448 pairs each", _LAION),
    Point({"CLIP L/14": 1}, "a100:256", 39_913 / 396, "396 A100, 224 pairs each", _LAION),
    Point({"OpenCLIP H/14": 1}, "a100:824", 34_608 / 824, "824 A100, 96 pairs each", _LAION),
    Point(
        {"OpenCLIP bigG/14, all patches": 1}, "a100:512", 10_450 / 512, "512 A100 of 80 GB",
        "https://laion.ai/blog/giant-openclip",
    ),
    Point(
        {"OpenVision 2 L/14, 84 pixels": 12.8, "OpenVision 2 L/14, 224 pixels": 1.02}, "v4:4x8x8",
        (12.8e9 + 1.02e9) / (57 * 3600 * 256), "57 hours of a v4-512",
        "https://arxiv.org/abs/2509.01644, table 3",
    ),
    Point(
        {"CoCa 2b": 32.8}, "v4:8x16x16", 500_000 * 65_536 / (5 * 24 * 3600 * 2048),
        "5 days of 2,048 v4", "https://arxiv.org/abs/2205.01917, section 4.1",
    ),
)  # fmt: skip


def main() -> None:
    """Prints the table of what is planned, and what is not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="of reference_runs.py --keep")
    folder = parser.parse_args().folder
    print(
        "| run | published | pairs/s a device | planned | MFU planned | ratio of times | "
        "by cycles | planned, GB a device | source |\n" + "|---" * 9 + "|"
    )
    for point in POINTS:
        files = [folder / file_name(name, point.topology) for name in point.stages]
        lacking = [file.name for file in files if not file.is_file()]
        if lacking:
            print(f"not planned: {', '.join(lacking)}")
        else:
            print(row(point, [json.loads(file.read_text()) for file in files]))


def file_name(name: str, topology: str) -> str:
    """As reference_runs.py calls the figures of a plan."""
    return f"{name} on {topology}.json".replace("/", "-").replace(" ", "_")


def row(point: Point, plans: list[dict]) -> str:
    """One line of the table; of several stages the memory is the largest."""
    planned = pace(point, plans, "seconds")
    cycles = pace(point, plans, "compiler_seconds")
    memory = max(plan["memory"]["total"] for plan in plans) / 1e9
    mfu = ", ".join(f"{plan['estimate']['mfu']:.0%}" for plan in plans)
    return (
        f"| {', '.join(point.stages)} on {point.topology} | {point.told} | {point.pace:,.1f} | "
        f"{planned:,.1f} | {mfu} | {point.pace / planned:.2f} | "
        f"{f'{point.pace / cycles:.2f}' if cycles else '-'} | {memory:.1f} | {point.source} |"
    )


def pace(point: Point, plans: list[dict], seconds: str) -> float:
    """Planned pairs a second of one device over all stages; 0 where a plan has no such estimate."""
    times = [plan["estimate"][seconds] for plan in plans]
    if not all(times):
        return 0.0
    taken = sum(
        samples * time * plan["devices"] / plan["global_batch"]
        for samples, time, plan in zip(point.stages.values(), times, plans, strict=True)
    )
    return sum(point.stages.values()) / taken


if __name__ == "__main__":
    main()
