"""The methods beside each other on the embedded emoji: clean captions, and 40 % of them shuffled.

  python benchmarks/objectives_on_emoji.py --out runs/objectives --seeds 0 1 2

Every method trains by `vlp train` for the same number of steps at the same widths and depths, once
a seed on clean captions and once on captions of which a share belongs to other pictures, and is
judged by `vlp eval` on another vendor's drawings: retrieval, retrieval after the match has ordered
the best 16 anew, and CIDEr of written captions, as far as the model offers them. A run that is
finished is not repeated; an interrupted one goes on where it was. The table shows means over seeds,
with the smallest and largest in brackets. Times and memory are taken at the end, all methods in
turn (see `step_cost.py`).

The file is also the config of these runs: `--config=benchmarks/objectives_on_emoji.py:method=clip`.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from ml_collections import ConfigDict

from experiments import emoji, emoji_vlmo
from experiments.common import parse_arg

DATA = "emoji:twemoji"
METHODS = ("clip", "siglip", "albef", "albef-undistilled", "coca", "blip", "vlmo")
MATCHES = ("albef", "albef-undistilled", "blip", "vlmo")
WRITES = ("coca", "blip")
WIDTH, HEADS, BATCH = 96, 3, 128
# Task, metric, factor and digits.
COLUMNS = {
    "text to image R@5": ("retrieval", "text_to_image/R@5", 100, 1),
    "image to text R@5": ("retrieval", "image_to_text/R@5", 100, 1),
    "reranked t2i R@5": ("retrieval", "reranked/text_to_image/R@5", 100, 1),
    "reranked i2t R@5": ("retrieval", "reranked/image_to_text/R@5", 100, 1),
    "CIDEr": ("captioning", "captions/CIDEr", 1, 2),
}


def main() -> None:
    """Trains and judges what is missing, then prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of all runs")
    parser.add_argument("--epochs", type=float, default=20)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--noise", type=float, nargs="+", default=[0.0, 0.4])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    args = parser.parse_args()
    for seed in args.seeds:
        for noise in args.noise:
            for name in args.methods:
                run(
                    folder(args.out, name, noise, seed),
                    method=name,
                    epochs=args.epochs,
                    noise=noise,
                    seed=seed,
                )
    print(f"| method | captions | {' | '.join(COLUMNS)} |")
    print("|---|---|" + "---|" * len(COLUMNS))
    for noise in args.noise:
        for name in args.methods:
            runs = [folder(args.out, name, noise, seed) for seed in args.seeds]
            print(row(name, noise, runs), flush=True)
    print(f"\n{costs(args.methods)}")


def get_config(arg: str = "") -> ConfigDict:
    """A method's emoji experiment, at the widths and depths that all share."""
    args = parse_arg(arg, method="clip", epochs=20.0)
    if args.method == "vlmo":
        config = emoji_vlmo.get_config(f"epochs={args.epochs}")
        config.model.update(
            image=dict(kind="patches", patch_size=12, width=WIDTH),
            text=dict(kind="words", width=WIDTH),
            multiway=dict(depth=4, num_heads=HEADS, fused_from=2, unroll=4),
        )
    else:
        config = emoji.get_config(f"epochs={args.epochs},model={args.method.split('-')[0]}")
        config.model.image.update(width=WIDTH, depth=4, num_heads=HEADS, unroll=4)
        config.model.text.update(width=WIDTH, depth=2, num_heads=HEADS, unroll=2)
    for reader in ("fusion", "decoder"):
        if reader in config.model:
            config.model[reader].update(depth=2, num_heads=HEADS, unroll=2)
    if "queries" in config.model.get("image", {}):
        config.model.image.queries.update(width=WIDTH, num_heads=HEADS)
    if args.method == "albef-undistilled":
        config.objective.distillation = 0.0
    config.train.global_batch_size = BATCH
    if "queue_size" in config.objective:
        config.objective.queue_size = BATCH
    config.evals = ConfigDict()
    config.report.data = ""
    config.export = ConfigDict()
    return config


def folder(out: Path, method: str, noise: float, seed: int) -> Path:
    """Of one run."""
    return out / f"{method}-{noise:g}-{seed}"


def run(workdir: Path, *, method: str, epochs: float, noise: float, seed: int) -> None:
    """One training and its judgements, unless they are there."""
    if (workdir / "judged.json").is_file():
        return
    settings = [f"--config.seed={seed}", f"--config.data.shuffled_captions={noise}"]
    config = f"{__file__}:method={method},epochs={epochs:g}"
    vlp("train", f"--config={config}", f"--workdir={workdir}", *settings)
    judged = {"retrieval": judge(workdir, "retrieval", *["--rerank=16"] * (method in MATCHES))}
    if method in WRITES:
        judged["captioning"] = judge(workdir, "captioning")
    (workdir / "judged.json").write_text(json.dumps(judged, indent=1))


def judge(workdir: Path, task: str, *flags: str) -> dict[str, float]:
    """The metrics of one task."""
    out = workdir / f"{task}.json"
    vlp("eval", f"--model={workdir}", f"--data={DATA}", f"--task={task}", f"--out={out}", *flags)
    return json.loads(out.read_text())["metrics"]


def costs(methods: Sequence[str]) -> str:
    """Median time of a step, all methods in turn, and the compiler's account of its memory."""
    import step_cost  # beside this script, which is also read as a config from elsewhere

    configs = {name: get_config(f"method={name}") for name in methods}
    candidates = [step_cost.prepare(name, configs[name], BATCH) for name in methods]
    step_cost.take_turns(candidates, 20)
    lines = [f"| method | step of {BATCH} pairs, ms | memory, GB |", "|---|---|---|"]
    for each in candidates:
        milliseconds = [1000 * s for s in each.seconds]
        lines.append(
            f"| {each.name} | {spread(milliseconds, statistics.median)} | {each.gigabytes:.2f} |"
        )
    return "\n".join(lines)


def vlp(*arguments: str) -> None:
    """Runs a command of vlp."""
    print("vlp", *arguments, file=sys.stderr, flush=True)
    subprocess.run([sys.executable, "-m", "vlp.cli.main", *arguments], check=True)


def row(name: str, noise: float, runs: Sequence[Path]) -> str:
    """One line of the table."""
    judged = [json.loads((workdir / "judged.json").read_text()) for workdir in runs]
    cells = []
    for task, metric, factor, digits in COLUMNS.values():
        values = [factor * found[task][metric] for found in judged if metric in found.get(task, {})]
        cells.append(spread(values, digits=digits))
    captions = f"{noise:.0%} shuffled" if noise else "clean"
    return f"| {name} | {captions} | {' | '.join(cells)} |"


def spread(values: Sequence[float], middle: Callable = statistics.mean, *, digits: int = 1) -> str:
    """The mean, with smallest and largest."""
    if not values:
        return ""
    shown = [f"{value:.{digits}f}" for value in (middle(values), min(values), max(values))]
    return f"{shown[0]} ({shown[1]} to {shown[2]})"


if __name__ == "__main__":
    main()
