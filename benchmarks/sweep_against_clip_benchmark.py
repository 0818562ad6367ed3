"""`vlp sweep` and `clip_benchmark eval` on the same files in turn, and retrieval from vectors.

  python benchmarks/sweep_against_clip_benchmark.py --rounds 3
  python benchmarks/sweep_against_clip_benchmark.py --rounds 3 --pictures 200 --classes 20
  python benchmarks/sweep_against_clip_benchmark.py --rounds 3 --vectors

Needs `vlp[peers]`, clip-benchmark 1.6.2, webdataset, scikit-image, scikit-learn and matplotlib; the
last three ship the photographs that crops of 512x384 (quality 90) are cut from. The model is
ViT-B/32 of random weights, in open_clip's files, float32 on both sides. The set is in
CLIP_benchmark's layout: every picture with a label and five captions, 200 classes, CLIP's 80
templates. "One task" is zero-shot classification. "Three tasks" are that, the same with CLIP's 7
templates, and retrieval: three folders with the same tars, which clip_benchmark reads in three
runs and vlp embeds once. Each side is a command in a process of its own, from nothing but files:
imports, loading and compiling are in its time. Before the rounds vlp runs once with empty caches,
which is printed. Each round gives a ratio; medians of these are printed, with their range; beside
them those of the processor's seconds, which other programs on the machine change less.

With --vectors: 25,000 captions and 5,000 images of 512 numbers that are in memory, R@1, 5 and 10
both ways; memory is the most that the process had meanwhile, over what it had before, with vectors
and libraries in. Needs Linux, which tells it.
"""

import argparse
import io
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from encoders_against_open_clip import CAPTIONS, make_folder, versions
from pipeline_against_open_clip import cropped, turns

from vlp.evals.prompts import templates

SIZE, TARS = (512, 384), 4
SETS = ("photos", "photos-seven", "photos-captions")  # of the three tasks
SIDES = ("vlp", "clip_benchmark")
KINDS = ("red", "blue", "old", "small", "wooden", "striped", "wild", "toy", "paper", "wet")
THINGS = (
    "dog", "church", "teapot", "bicycle", "lighthouse", "violin", "tractor", "sea lion", "umbrella",
    "coffee mug", "school bus", "butterfly", "candle", "mushroom", "backpack", "locomotive",
    "goldfish", "mailbox", "pizza", "space shuttle",
)  # fmt: skip
Seconds = tuple[float, float]
IMAGES, TEXTS, WIDTH = 5_000, 25_000, 512
KS = (1, 5, 10)


def main() -> None:
    """Makes model and data, runs all rounds and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=2_000)
    parser.add_argument("--classes", type=int, default=200)
    parser.add_argument("--tasks", type=int, nargs="+", choices=(1, 3), default=[1, 3])
    parser.add_argument("--workers", type=int, default=4, help="of clip_benchmark; its default")
    parser.add_argument("--vectors", action="store_true", help="retrieval from vectors alone")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        print(json.dumps(of_vectors(args.side)))
        return
    print(f"{platform.machine()}, {os.cpu_count()} cores; {versions()}\n")
    if args.vectors:
        compare_vectors(args.rounds)
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make_folder("ViT-B-32", folder / "model")
        write_sets(folder, args.pictures, args.classes)
        over = "clip_benchmark / vlp, seconds | range | of the processor"
        print(f"| tasks | side | seconds | range | of the processor | {over} |")
        print("|---|---|---|---|---|---|---|---|")
        for tasks in args.tasks:
            compare(folder, tasks, args.rounds, args.workers)


def compare(folder: Path, tasks: int, rounds: int, workers: int) -> None:
    """Runs both sides in turn and prints their lines."""
    wall, used = ours(folder, tasks, "cold")
    print(f"| {tasks} | vlp, empty caches | {wall:.0f} | | {used:.0f} | | | |", flush=True)
    found: dict[str, list[Seconds]] = {side: [] for side in SIDES}
    for number in range(rounds):
        found["vlp"].append(ours(folder, tasks, f"{number}"))
        found["clip_benchmark"].append(theirs(folder, tasks, workers))
        print("round", number, {side: runs[-1] for side, runs in found.items()}, file=sys.stderr)
    rounds_of = list(zip(*found.values(), strict=True))
    ratios, busy_ratios = ([b[i] / a[i] for a, b in rounds_of] for i in (0, 1))
    over = f"{statistics.median(ratios):.2f} | {min(ratios):.2f}-{max(ratios):.2f}"
    over += f" | {statistics.median(busy_ratios):.2f}"
    for side, runs in found.items():
        walls, processor = zip(*runs, strict=True)
        cells = [f"{statistics.median(walls):.0f}", f"{min(walls):.0f}-{max(walls):.0f}"]
        cells += [f"{statistics.median(processor):.0f}", over if side == "vlp" else " | | "]
        print(f"| {tasks} | {side} | {' | '.join(cells)} |", flush=True)


def ours(folder: Path, tasks: int, name: str) -> Seconds:
    """Seconds of a sweep into a new folder."""
    out = folder / f"sweep-{tasks}-{name}"
    line = [sys.executable, "-m", "vlp.cli.main", "sweep", f"--models=open_clip:{folder / 'model'}"]
    line += [f"--suite={folder / 'suite.toml'}", f"--data={folder}", f"--out={out}", "--only"]
    return ran([*line, *SETS[:tasks]], {"VLP_CACHE": str(folder / "cache")})


def theirs(folder: Path, tasks: int, workers: int) -> Seconds:
    """Seconds of clip_benchmark: classification of one set or two, and of three the retrieval."""
    weights = folder / "model" / "open_clip_model.safetensors"
    line = [str(Path(sys.executable).with_name("clip_benchmark")), "eval", "--no_amp"]
    line += ["--model=ViT-B-32", f"--pretrained={weights}", f"--num_workers={workers}"]
    line += [f"--dataset_root={folder}/wds_{{dataset_cleaned}}_test"]
    line += [f"--output={folder}/{{dataset}}_{{task}}.json", "--recall_k", *map(str, KS)]
    classified = [f"wds/{name}" for name in SETS[: min(tasks, 2)]]
    total = ran([*line, "--task=zeroshot_classification", "--dataset", *classified])
    if tasks == len(SETS):
        more = ran([*line, "--task=zeroshot_retrieval", "--dataset", f"wds/{SETS[2]}"])
        total = (total[0] + more[0], total[1] + more[1])
    return total


def ran(line: list[str], environment: dict[str, str] | None = None) -> Seconds:
    """Seconds of a command, by the clock and of the processor."""
    begun, before = time.perf_counter(), busy()
    found = subprocess.run(
        line, env=os.environ | (environment or {}), capture_output=True, text=True, errors="replace"
    )
    seconds = (time.perf_counter() - begun, busy() - before)
    if found.returncode or "failed" in found.stdout.replace("0 of them failed", ""):
        raise SystemExit(f"{' '.join(line)}\n{found.stdout[-2000:]}\n{found.stderr[-4000:]}")
    return seconds


def busy() -> float:
    """Seconds of the processor that commands have taken so far, their own processes' too."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def write_sets(folder: Path, pictures: int, classes: int) -> None:
    """The three folders of one set, and the suite that names them."""
    names = [f"{kind} {thing}" for thing in THINGS for kind in KINDS][:classes]
    captions = [f"{text} beside a {name}" for name in names for text in CAPTIONS]
    tars = folder / f"wds_{SETS[0]}_test" / "test"
    tars.mkdir(parents=True)
    rng = np.random.default_rng(0)
    photos = turns()
    for number in range(TARS):
        with tarfile.open(tars / f"{number}.tar", "w") as tar:
            for place in range(number, pictures, TARS):
                said = "\n".join(captions[rng.integers(len(captions))] for _ in range(5))
                add(tar, f"s{place:07d}.jpg", cropped(next(photos), SIZE, rng))
                add(tar, f"s{place:07d}.cls", str(place % classes).encode())
                add(tar, f"s{place:07d}.txt", said.encode())
    (tars / "nshards.txt").write_text(str(TARS))
    for name, prompts in zip(SETS, ("clip80", "clip7", ""), strict=True):
        own = folder / f"wds_{name}_test"
        own.mkdir(exist_ok=True)
        if name != SETS[0]:
            (own / "test").symlink_to(tars, target_is_directory=True)
        lines = [text.replace("{}", "{c}") for text in templates(prompts)] if prompts else []
        (own / "zeroshot_classification_templates.txt").write_text("\n".join(lines))
        (own / "classnames.txt").write_text("\n".join(names))
        (own / "dataset_type.txt").write_text("classification" if prompts else "retrieval")
    entries = "".join(f'[[set]]\nname = "{name}"\n' for name in SETS)
    (folder / "suite.toml").write_text(entries)


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """Puts a file into a tar."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def compare_vectors(rounds: int) -> None:
    """Retrieval by both sides in turn, each in a process of its own."""
    found: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    for _ in range(rounds):
        for side in SIDES:
            line = [sys.executable, __file__, f"--side={side}"]
            said = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=True).stdout
            found[side].append(json.loads(said.splitlines()[-1]))
    mine, other = (found[side][0]["recalls"] for side in SIDES)
    difference = max(abs(mine[name] - other[name]) for name in other)
    print(f"recalls differ by {difference:.1e} at most\n")
    print(
        "| side | seconds | range | memory, MB | of the whole process, MB |\n|---|---|---|---|---|"
    )
    for side, runs in found.items():
        times, memory, whole = ([run[key] for run in runs] for key in ("seconds", "more", "peak"))
        print(
            f"| {side} | {statistics.median(times):.1f} | {min(times):.1f}-{max(times):.1f} | "
            f"{statistics.median(memory):.0f} | {statistics.median(whole):.0f} |"
        )
    for key in ("seconds", "more"):
        pairs = zip(*(found[side] for side in SIDES), strict=True)
        ratio = statistics.median(b[key] / a[key] for a, b in pairs)
        print(f"\nclip_benchmark / vlp, {key}: {ratio:.1f}")


def of_vectors(side: str) -> dict[str, Any]:
    """Seconds, memory and recalls of one side."""
    rng = np.random.default_rng(0)
    zimg = unit(rng.standard_normal((IMAGES, WIDTH), np.float32))
    owner = np.repeat(np.arange(IMAGES), TEXTS // IMAGES)
    ztxt = unit(zimg[owner] + 3 * rng.standard_normal((TEXTS, WIDTH), np.float32) / WIDTH**0.25)
    run = (vlp_retrieval if side == "vlp" else clip_benchmark_retrieval)(zimg, ztxt, owner)
    Path("/proc/self/clear_refs").write_text("5")  # peak() begins anew
    before = peak()
    begun = time.perf_counter()
    recalls = run()
    seconds = time.perf_counter() - begun
    return dict(seconds=seconds, more=peak() - before, peak=peak(), recalls=recalls)


def vlp_retrieval(zimg: np.ndarray, ztxt: np.ndarray, owner: np.ndarray) -> Any:
    """A function to the recalls, its libraries loaded."""
    import jax

    from vlp.evals.ranks import gallery_ranks

    jax.block_until_ready(jax.numpy.ones(3) + 1)

    def run() -> dict[str, float]:
        texts, images = gallery_ranks(zimg, ztxt, owner)
        ways = {"image_retrieval": texts.missed, "text_retrieval": images.missed}
        return {f"{way}_recall@{k}": float((r < k).mean()) for way, r in ways.items() for k in KS}

    return run


def clip_benchmark_retrieval(zimg: np.ndarray, ztxt: np.ndarray, owner: np.ndarray) -> Any:
    """The same of clip_benchmark's function, whose model hands on what it is given."""
    import torch
    from clip_benchmark.metrics import zeroshot_retrieval

    class Given:
        encode_image = staticmethod(lambda rows: rows)
        encode_text = staticmethod(lambda rows: rows)

    images, texts, several = torch.from_numpy(zimg), torch.from_numpy(ztxt), TEXTS // IMAGES
    rows = range(0, IMAGES, 64)
    of = [
        [range(i * several, (i + 1) * several) for i in range(r, min(r + 64, IMAGES))] for r in rows
    ]
    batches = [(images[r : r + 64], own) for r, own in zip(rows, of, strict=True)]
    return lambda: zeroshot_retrieval.evaluate(
        Given(), batches, lambda places: texts[places], "cpu", amp=False, recall_k_list=list(KS)
    )


def unit(x: np.ndarray) -> np.ndarray:
    """Rows of length one."""
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def peak() -> float:
    """The most memory this process had, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1e3 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    main()
