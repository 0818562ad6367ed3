"""Photographs in tars to batches, ours and open_clip's WebDataset pipeline in turn.

  python benchmarks/pipeline_against_open_clip.py --rounds 5

Needs `vlp[peers,fast]`, webdataset 0.2.86 (open_clip does not know later ones), scikit-image,
scikit-learn and matplotlib, which ship the photographs that crops of 512x384 and 1024x768 (quality
90) are cut from. Each side makes batches of 64 at 224 pixels with CLIP's tokens and open_clip's
training augmentation (crops of 90 to 100 %, bicubic) in worker processes of its own; open_clip's
are made by its `get_wds_dataset`. A bare loop of the same libraries (decode, crop, resize; nothing
read, shuffled, tokenised or batched) runs in as many processes. Sides alternate, each round gives a
ratio, and medians of these are printed. Then evaluation preprocessing, one picture after the other
in one process.
"""

import argparse
import io
import itertools
import json
import multiprocessing
import platform
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from encoders_against_open_clip import CAPTIONS, import_open_clip
from PIL import Image

SIZES = {512: (512, 384), 1024: (1024, 768)}
TARS, IN_A_TAR, DIFFERENT = 4, 512, 64
ROWS, OUTPUT, LENGTH = 64, 224, 77
WARM, TIMED = 4, 12  # batches; pictures of a bare loop are as many as in the timed ones
CROP = dict(crop=(0.9, 1.0))
OF_OPEN_CLIP = ("open_clip", "open_clip, evaluation")


def main() -> None:
    """Writes the tars, runs all rounds and prints the tables."""
    args = arguments(__doc__.splitlines()[0], rounds=5)
    if args.side:
        print(json.dumps(SIDES[args.side](Path(args.folder), args.workers[0])))
        return
    print(f"pictures/s, medians of {args.rounds} rounds; {platform.machine()}; {versions()}")
    with tempfile.TemporaryDirectory() as folder:
        for size in args.sizes:
            place = Path(folder) / str(size)
            write_tars(place, SIZES[size])
            for workers in args.workers:
                compare(place, size, workers, args.rounds, evaluation=False)
            compare(place, size, 1, args.rounds, evaluation=True)


def arguments(description: str, *, rounds: int) -> argparse.Namespace:
    """The flags of a script that puts pipelines beside each other.

    Args:
      description: of the script.
      rounds: unless others are asked for.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--sizes", type=int, nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    return parser.parse_args()


def compare(folder: Path, size: int, workers: int, rounds: int, *, evaluation: bool) -> None:
    """Runs the sides in turn and prints a table."""
    sides = [side for side in SIDES if ("evaluation" in side) == evaluation]
    rates: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(rounds):
        for side, found in rates.items():
            found.append(measured(side, folder, workers))
    what = "evaluation" if evaluation else f"{workers} worker{'s' * (workers > 1)}"
    print(f"\n{'x'.join(map(str, SIZES[size]))}, {what}\n")
    print("| side | pictures/s | range | over open_clip | over its bare loop |")
    print("|---|---|---|---|---|")
    theirs = rates[OF_OPEN_CLIP[evaluation]]
    for side, found in rates.items():
        bare = rates.get(f"bare loop, {side.removeprefix('vlp, ')}")
        over = "" if bare is None else f"{ratio(found, bare):.2f}"
        print(
            f"| {side} | {statistics.median(found):.0f} | {min(found):.0f}-{max(found):.0f} | "
            f"{ratio(found, theirs):.2f} | {over} |",
            flush=True,
        )


def ratio(ours: list[float], theirs: list[float]) -> float:
    """The median of the rounds' ratios."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def measured(side: str, folder: Path, workers: int, *, script: str = __file__) -> float:
    """Pictures a second, in a process of its own.

    Raises:
      RuntimeError: that process failed; with the last line of what it said.
    """
    command = [sys.executable, script, f"--side={side}", f"--folder={folder}"]
    command += ["--workers", str(workers)]
    said = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    sys.stderr.write(said.stderr)
    if said.returncode:
        last = (said.stderr.splitlines() or ["it said nothing"])[-1]
        raise RuntimeError(f"{side} ended with status {said.returncode}: {last}")
    return float(said.stdout.splitlines()[-1])


def write_tars(folder: Path, size: tuple[int, int]) -> None:
    """Some different crops of photographs again and again, with captions."""
    rng = np.random.default_rng(0)
    pictures = [cropped(photo, size, rng) for photo in itertools.islice(turns(), DIFFERENT)]
    folder.mkdir()
    for number in range(TARS):
        with tarfile.open(folder / f"{number}.tar", "w") as tar:
            for i in range(IN_A_TAR):
                place = number * IN_A_TAR + i
                caption = CAPTIONS[place % len(CAPTIONS)].encode()
                for end, data in (("jpg", pictures[place % DIFFERENT]), ("txt", caption)):
                    info = tarfile.TarInfo(f"{place:06d}.{end}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))


def turns() -> Iterator[Image.Image]:
    """The photographs that the three packages ship, endlessly."""
    import matplotlib.cbook
    from skimage import data
    from sklearn.datasets import load_sample_images

    hopper = Image.open(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))
    arrays = [
        data.astronaut(), data.chelsea(), data.coffee(), data.rocket(), data.hubble_deep_field(),
        *load_sample_images().images, np.asarray(hopper),
    ]  # fmt: skip
    while True:
        yield from map(Image.fromarray, arrays)


def cropped(photo: Image.Image, size: tuple[int, int], rng: np.random.Generator) -> bytes:
    """A crop of 60 to 100 % of what fits, as a JPEG of that size."""
    side = min(photo.width / size[0], photo.height / size[1]) * rng.uniform(0.6, 1)
    wide, high = side * size[0], side * size[1]
    left, top = rng.uniform(0, photo.width - wide), rng.uniform(0, photo.height - high)
    out = io.BytesIO()
    box = (left, top, left + wide, top + high)
    photo.resize(size, Image.Resampling.BICUBIC, box=box).save(out, "JPEG", quality=90)
    return out.getvalue()


def timed(batches: Iterator[Any]) -> float:
    """Pictures a second, once the workers have begun."""
    for _ in range(WARM):
        next(batches)
    begun = time.perf_counter()
    for _ in range(TIMED):
        next(batches)
    return TIMED * ROWS / (time.perf_counter() - begun)


def of_open_clip(folder: Path, workers: int) -> float:
    """open_clip's own pipeline."""
    open_clip = import_open_clip()
    from open_clip.transform import image_transform
    from open_clip_train.data import get_wds_dataset

    args = types.SimpleNamespace(
        train_data=f"{folder}/{{0..{TARS - 1}}}.tar",
        train_num_samples=10**6,
        train_data_upsampling_factors=None,
        dataset_resampled=True,
        batch_size=ROWS,
        workers=workers,
        world_size=1,
        seed=0,
    )
    transform, tokenizer = image_transform(OUTPUT, is_train=True), open_clip.SimpleTokenizer()
    info = get_wds_dataset(args, transform, True, tokenizer=tokenizer)
    return timed(iter(info.dataloader))


def ours(interpolation: str) -> Callable[[Path, int], float]:
    """Our pipeline with one of its resizes."""

    def run(folder: Path, workers: int) -> float:
        from data_pipelines.augmentation import augmentation
        from data_pipelines.fields import Pictures, Texts
        from data_pipelines.loader import make_loader
        from data_pipelines.opening import open_source
        from data_pipelines.tokens.clip import clip_tokenizer

        augment = augmentation(OUTPUT, **CROP, interpolation=interpolation)
        fields = {
            "text": Texts(clip_tokenizer(), length=LENGTH, pad_id=0),
            "image": Pictures(augment, size=OUTPUT),
        }
        loader = make_loader(
            open_source(folder), fields=fields, global_batch_size=ROWS, num_workers=workers
        )
        return timed(loader)

    return run


def bare(interpolation: str) -> Callable[[Path, int], float]:
    """Decode, crop and resize, of files in memory, in as many processes."""

    def run(folder: Path, workers: int) -> float:
        with multiprocessing.get_context("spawn").Pool(workers) as pool:
            return sum(pool.starmap(bare_loop, [(folder, interpolation)] * workers))

    return run


def bare_loop(folder: Path, interpolation: str) -> float:
    """Pictures a second of one process: the calls that ours makes, and nothing around them."""
    import simplejpeg

    from data_pipelines.resize import resized

    pictures, rng = files(folder), np.random.default_rng(0)
    # As ours chooses for crops of 90 % of these two sizes: Pillow's slow resize pays for 5 and 3
    # eighths, the other one does not.
    wide, high = Image.open(io.BytesIO(pictures[0])).size
    enough = {512: (5, 8), 1024: (3, 4)}[wide][interpolation.endswith("simd")]
    low = {} if enough == 8 else dict(min_width=wide * enough // 8, min_height=high * enough // 8)
    count = TIMED * ROWS
    begun = time.perf_counter()
    for i in range(count):
        rgb = simplejpeg.decode_jpeg(pictures[i % len(pictures)], "RGB", **low)
        h, w = rgb.shape[:2]
        high, wide = (int(n * rng.uniform(0.95, 1)) for n in (h, w))
        top, left = int(rng.integers(h - high + 1)), int(rng.integers(w - wide + 1))
        part = rgb[top : top + high, left : left + wide]
        resized(part, (OUTPUT, OUTPUT), interpolation=interpolation)
    return count / (time.perf_counter() - begun)


def evaluation(side: str) -> Callable[[Path, int], float]:
    """Evaluation preprocessing, the shorter side resized, of files in memory."""

    def run(folder: Path, _: int) -> float:
        pictures = files(folder)
        transform = evaluation_of(side)
        transform(pictures[0])
        begun = time.perf_counter()
        for i in range(TIMED * ROWS):
            transform(pictures[i % len(pictures)])
        return TIMED * ROWS / (time.perf_counter() - begun)

    return run


def evaluation_of(side: str) -> Callable[[bytes], Any]:
    """From the bytes of a file to pixels; open_clip's are floats."""
    if side == "open_clip":
        import_open_clip()
        import torch
        from open_clip.transform import image_transform

        torch.set_num_threads(1)
        transform = image_transform(OUTPUT, is_train=False)
        return lambda data: transform(Image.open(io.BytesIO(data)))
    from data_pipelines.images import ImagePreprocess

    return ImagePreprocess(OUTPUT, resize="shortest", interpolation=side)


def files(folder: Path) -> list[bytes]:
    """The different pictures."""
    with tarfile.open(folder / "0.tar") as tar:
        members = [name for name in tar.getnames() if name.endswith("jpg")]
        return [tar.extractfile(name).read() for name in members[:DIFFERENT]]  # type: ignore[union-attr]


def versions() -> str:
    """Of what takes part."""
    import PIL
    import simplejpeg
    import torch

    open_clip = import_open_clip()
    named = dict(Pillow=PIL, simplejpeg=simplejpeg, open_clip=open_clip, torch=torch)
    return ", ".join(f"{name} {module.__version__}" for name, module in named.items())


SIDES: dict[str, Callable[[Path, int], float]] = {
    "open_clip": of_open_clip,
    "vlp, bicubic": ours("bicubic"),
    "bare loop, bicubic": bare("bicubic"),
    "vlp, bicubic_simd": ours("bicubic_simd"),
    "bare loop, bicubic_simd": bare("bicubic_simd"),
    "open_clip, evaluation": evaluation("open_clip"),
    "vlp, bicubic, evaluation": evaluation("bicubic"),
    "vlp, bicubic_simd, evaluation": evaluation("bicubic_simd"),
}


if __name__ == "__main__":
    main()
