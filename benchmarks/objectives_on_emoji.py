"""The methods beside each other on the embedded emoji: clean captions, and 40 % of them shuffled.

  python benchmarks/objectives_on_emoji.py --out runs/objectives --epochs 10 --seeds 0 1 2

Every method trains by `vlp train` for the same number of steps at the same widths, once a seed on
clean captions and once on captions of which a share belongs to other pictures, and is judged by
`vlp eval` on another vendor's drawings: retrieval, retrieval after the match has ordered the best
16 anew, and CIDEr of written captions, as far as the model offers them. A run that is finished is
not repeated; an interrupted one goes on where it was. The table shows means over seeds, with the
smallest and largest in brackets.
"""

import argparse
import dataclasses
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

DATA = "emoji:twemoji"


@dataclasses.dataclass(frozen=True)
class Method:
    """How a method is trained, and what besides retrieval it can be asked for.

    Attributes:
        config: behind `--config=experiments/`.
        flags: of `vlp train`.
        matches: whether it orders candidates anew.
        writes: whether it writes captions.
    """

    config: str
    flags: tuple[str, ...] = ()
    matches: bool = False
    writes: bool = False


METHODS = {
    "clip": Method("emoji.py:model=clip"),
    "siglip": Method("emoji.py:model=siglip"),
    "albef": Method("emoji.py:model=albef", matches=True),
    "albef, no distillation": Method(
        "emoji.py:model=albef", ("--config.objective.distillation=0.0",), matches=True
    ),
    "coca": Method("emoji.py:model=coca", writes=True),
    "blip": Method("emoji.py:model=blip", matches=True, writes=True),
    "vlmo, pairs alone": Method("emoji_vlmo.py:stage=pairs", matches=True),
}
COLUMNS = {
    "text to image R@5": ("retrieval", "text_to_image/R@5", 100),
    "image to text R@5": ("retrieval", "image_to_text/R@5", 100),
    "reranked t2i R@5": ("retrieval", "reranked/text_to_image/R@5", 100),
    "reranked i2t R@5": ("retrieval", "reranked/image_to_text/R@5", 100),
    "CIDEr": ("captioning", "captions/CIDEr", 1),
    "step, ms": ("cost", "step_ms", 1),
    "peak memory, GB": ("cost", "memory_gb", 1),
}


def main() -> None:
    """Trains and judges what is missing, then prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of all runs")
    parser.add_argument("--epochs", type=float, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--noise", type=float, nargs="+", default=[0.0, 0.4])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    args = parser.parse_args()
    for seed in args.seeds:
        for noise in args.noise:
            for name in args.methods:
                run(METHODS[name], folder(args.out, name, noise, seed), args.epochs, noise, seed)
    print(f"| method | captions | {' | '.join(COLUMNS)} |")
    print("|---|---|" + "---|" * len(COLUMNS))
    for noise in args.noise:
        for name in args.methods:
            runs = [folder(args.out, name, noise, seed) for seed in args.seeds]
            print(row(name, noise, runs), flush=True)


def folder(out: Path, name: str, noise: float, seed: int) -> Path:
    """Of one run."""
    return out / f"{name.replace(', ', '-').replace(' ', '-')}-{noise:g}-{seed}"


def run(method: Method, workdir: Path, epochs: float, noise: float, seed: int) -> None:
    """One training and its judgements, unless they are there."""
    if (workdir / "judged.json").is_file():
        return
    settings = [f"--config.seed={seed}", f"--config.data.shuffled_captions={noise}"]
    config = f"experiments/{method.config},epochs={epochs:g}"
    vlp("train", f"--config={config}", f"--workdir={workdir}", *settings, *method.flags)
    judged = {"retrieval": judge(workdir, "retrieval", *["--rerank=16"] * method.matches)}
    if method.writes:
        judged["captioning"] = judge(workdir, "captioning")
    judged["cost"] = cost(workdir)
    (workdir / "judged.json").write_text(json.dumps(judged, indent=1))


def judge(workdir: Path, task: str, *flags: str) -> dict[str, float]:
    """The metrics of one task."""
    out = workdir / f"{task}.json"
    vlp("eval", f"--model={workdir}", f"--data={DATA}", f"--task={task}", f"--out={out}", *flags)
    return json.loads(out.read_text())["metrics"]


def cost(workdir: Path) -> dict[str, float]:
    """Median time of a step, the first ones apart, and the largest memory."""
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return {
        "step_ms": 1000 * statistics.median(row["perf/step_s"] for row in rows[3:]),
        "memory_gb": max(row["perf/peak_memory_gb"] for row in rows),
    }


def vlp(*arguments: str) -> None:
    """Runs a command of vlp."""
    print("vlp", *arguments, file=sys.stderr, flush=True)
    subprocess.run([sys.executable, "-m", "vlp.cli.main", *arguments], check=True)


def row(name: str, noise: float, runs: Sequence[Path]) -> str:
    """One line of the table."""
    judged = [json.loads((workdir / "judged.json").read_text()) for workdir in runs]
    cells = []
    for task, metric, factor in COLUMNS.values():
        values = [factor * found[task][metric] for found in judged if metric in found.get(task, {})]
        cells.append(spread(values))
    captions = f"{noise:.0%} shuffled" if noise else "clean"
    return f"| {name} | {captions} | {' | '.join(cells)} |"


def spread(values: Sequence[float]) -> str:
    """The mean, with smallest and largest."""
    if not values:
        return ""
    return f"{statistics.mean(values):.1f} ({min(values):.1f} to {max(values):.1f})"


if __name__ == "__main__":
    main()
