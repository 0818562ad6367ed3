"""The quickstart where 40 % of the captions are wrong: on all, on half, on what a model keeps.

  python benchmarks/filtered_emoji.py --out runs/filtered

Of the drawings that the quickstart trains on, 40 % get captions of each other. For every seed a
model is trained on all of it; `vlp data filter` keeps the 60 % whose picture and caption that very
model finds nearest; and models are trained anew on these and on half of the data at random, all for
as many steps. A run that is finished is not repeated. The first table says how many of the kept
pairs are right, the second is retrieval among the drawings of another vendor: means over the seeds
and standard deviations. Needs the packages of `vlp[jobs]`.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data_pipelines.opening import open_source
from data_pipelines.tar_write import sample_bytes, write_tar

WRONG, KEPT, HALF = 0.4, 0.6, 0.5
COLUMNS = [f"{way}/R@{k}" for way in ("text_to_image", "image_to_text") for k in (1, 5, 10)]


def main() -> None:
    """Makes and trains what is missing, then prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of data and runs")
    parser.add_argument("--epochs", type=float, default=42, help="of all the data")
    parser.add_argument("--size", type=int, default=48, help="pixels")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    args = parser.parse_args()
    kept = {seed: one_seed(args, seed) for seed in args.seeds}
    print("| seed | kept | of these right | of all right |\n|---|---|---|---|")
    for seed, (count, right) in kept.items():
        print(f"| {seed} | {count:,} | {right:.1%} | {1 - WRONG:.0%} |")
    print(f"\n| trained on | {' | '.join(COLUMNS)} |\n|---|{'---|' * len(COLUMNS)}")
    for name in ("all", "half", "kept"):
        print(row(name, [args.out / str(seed) / name for seed in args.seeds]))


def one_seed(args: argparse.Namespace, seed: int) -> tuple[int, float]:
    """The three runs of a seed; how many pairs were kept, and the share of right ones."""
    folder = args.out / str(seed)
    folder.mkdir(parents=True, exist_ok=True)
    data = write_data(folder, seed)
    total = round(args.epochs * len(open_source(data)) / 256)
    train(args, data, folder / "all", seed=seed, steps=total)
    model, vectors, best = (str(folder / name) for name in ("all", "vectors", "best"))
    vlp("embed", f"--model={model}", f"--data={data}", f"--out={vectors}")
    share = ("data", "filter", f"--data={data}", f"--embeddings={vectors}", f"--share={KEPT}")
    vlp(*share, f"--out={best}")
    train(args, best, folder / "kept", seed=seed, steps=total)
    train(args, folder / "half.tar", folder / "half", seed=seed, steps=total)
    source = open_source(best)
    wrong = [source.meta(index)["wrong"] for index in range(len(source))]
    return len(wrong), 1 - float(np.mean(wrong))


def write_data(folder: Path, seed: int) -> Path:
    """The tar of all pairs, some of them wrong, and beside it one of a random half."""
    source = open_source("emoji:noto-train")
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(source))
    mixed = order[: round(WRONG * len(source))]
    captions_of = np.arange(len(source))
    captions_of[mixed] = np.roll(mixed, 1)
    samples = [
        sample_bytes(
            f"{index:06d}",
            source.image(index),
            [text.decode() for text in source.captions(int(captions_of[index]))],
            meta={"wrong": bool(captions_of[index] != index)},
        )
        for index in range(len(source))
    ]
    half = np.sort(rng.permutation(len(source))[: round(HALF * len(source))])
    write_tar(folder / "all.tar", samples)
    write_tar(folder / "half.tar", [samples[index] for index in half])
    return folder / "all.tar"


def train(args: argparse.Namespace, data: str | Path, workdir: Path, *, seed: int, steps: int):
    """One run of the quickstart on these data, judged at its end."""
    vlp(
        "train",
        f"--config=experiments/emoji.py:epochs={args.epochs:g},size={args.size}",
        f"--workdir={workdir}",
        f"--config.data.train={data}",
        f"--config.train.total={steps} steps",
        f"--config.seed={seed}",
        "--config.report.data=",
    )


def vlp(*arguments: str) -> None:
    """Runs a command."""
    print("vlp", *arguments, file=sys.stderr, flush=True)
    subprocess.run([sys.executable, "-m", "vlp.cli.main", *arguments], check=True)


def row(name: str, runs: Sequence[Path]) -> str:
    """A line of the second table."""
    judged = [json.loads((run / "results" / "twemoji.json").read_text()) for run in runs]
    cells = []
    for column in COLUMNS:
        values = [100 * found["metrics"][column] for found in judged]
        spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
        cells.append(f"{statistics.mean(values):.1f}{spread}")
    return f"| {name} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
