"""A student of a quarter of the quickstart's size, with and without the quickstart as its teacher.

  python benchmarks/distillation_on_emoji.py --teacher runs/emoji --out runs/distillation

Every seed trains the same student by `experiments/emoji_distilled.py` alone, alone for as long as a
step with a teacher takes, taught by similarities, and by embeddings besides; a run that is finished
is not repeated, an interrupted one goes on. The table shows retrieval among the drawings of another
vendor: means over the seeds and standard deviations, the teacher's own in the last row.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

WAYS = {"t2i": "text_to_image", "i2t": "image_to_text"}
TIME = 2.2  # of a step with a teacher, by one without
COLUMNS = [f"{way}/R@{k}" for way in WAYS for k in (1, 5, 10)]


def main() -> None:
    """Trains what is missing, then prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--teacher", type=Path, required=True, help="a run of experiments/emoji.py")
    parser.add_argument("--out", type=Path, required=True, help="folder of the students' runs")
    parser.add_argument("--epochs", type=float, default=15)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    args = parser.parse_args()
    taught = f"teacher={args.teacher},epochs={args.epochs:g}"
    students = {
        "alone": f"epochs={args.epochs:g}",
        "longer": f"epochs={args.epochs * TIME:g}",
        "taught": f"{taught},feature=0",
        "featured": taught,
    }
    for seed in args.seeds:
        for name, arg in students.items():
            train(args.out / f"{name}-{seed}", arg=arg, seed=seed)
    print(f"| student | {' | '.join(COLUMNS)} |\n|---|{'---|' * len(COLUMNS)}")
    for name in students:
        print(row(name, [args.out / f"{name}-{seed}" for seed in args.seeds]))
    print(row("the teacher", [args.teacher]))


def train(workdir: Path, *, arg: str, seed: int) -> None:
    """One student, judged at its end."""
    config = f"experiments/emoji_distilled.py:{arg}"
    flags = ("--config.report.data=", f"--config.seed={seed}", f"--workdir={workdir}")
    line = [sys.executable, "-m", "vlp.cli.main", "train", f"--config={config}", *flags]
    print(*line[2:], file=sys.stderr, flush=True)
    subprocess.run(line, check=True)


def row(name: str, runs: Sequence[Path]) -> str:
    """A line of the table."""
    judged = [json.loads((run / "results" / "twemoji.json").read_text()) for run in runs]
    cells = []
    for column in COLUMNS:
        way, _, k = column.partition("/")
        values = [100 * found["metrics"][f"{WAYS[way]}/{k}"] for found in judged]
        spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
        cells.append(f"{statistics.mean(values):.1f}{spread}")
    return f"| {name} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
