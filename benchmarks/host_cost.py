"""Core time of loading photographs that is neither decoding nor resizing.

  python benchmarks/host_cost.py

Needs scikit-image, scikit-learn and matplotlib, whose photographs pipeline_against_open_clip.py
cuts. A group of rows is loaded as a worker loads it (read, augmented, tokenised, written to its
slot); then the very same parts of the same pictures are decoded, cut and resized once more, by the
same calls and with nothing around them. Both in turn, the least of three times of each; printed are
medians over groups. What the program itself takes while a worker loads for it (waiting for groups,
laying them into batches, handing them over) is measured beside that and counts as cost.
"""

import argparse
import functools
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline_against_open_clip import CROP, LENGTH, OUTPUT, ROWS, SIZES, TIMED, WARM, write_tars

from data_pipelines.assemble import SLOT, TrainGroups
from data_pipelines.augmentation import augmentation
from data_pipelines.fields import Pictures, Texts
from data_pipelines.loader import Loader, make_loader
from data_pipelines.opening import open_source
from data_pipelines.photos import Photo
from data_pipelines.slots import Slots
from data_pipelines.tokens.clip import clip_tokenizer
from data_pipelines.watch import Watch

GROUPS, TRIES = 40, 3
FILTERS = ("bicubic", "bicubic_simd")


def main() -> None:
    """Writes the tars and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", choices=SIZES, default=list(SIZES))
    args = parser.parse_args()
    print(f"milliseconds of a core, a picture; {platform.machine()}\n")
    print("| pictures | filter | worker | program | decode and resize | outside of these |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for size in args.sizes:
            tars = Path(folder) / str(size)
            write_tars(tars, SIZES[size])
            for interpolation in FILTERS:
                program = of_program(loader_of(tars, interpolation, workers=1))
                worker, shown = of_worker(loader_of(tars, interpolation, workers=0).groups)
                cells = [f"{value:.3f}" for value in (worker, program, shown)]
                cells.append(f"{1 - shown / (worker + program):.1%}")
                name = "x".join(map(str, SIZES[size]))
                print(f"| {name} | {interpolation} | {' | '.join(cells)} |", flush=True)


def loader_of(tars: Path, interpolation: str, *, workers: int) -> Loader:
    """Pictures and tokens as a run would load them."""
    augment = augmentation(OUTPUT, **CROP, interpolation=interpolation)
    fields = {
        "text": Texts(clip_tokenizer(), length=LENGTH, pad_id=0),
        "image": Pictures(augment, size=OUTPUT),
    }
    source = open_source(tars)
    return make_loader(source, fields=fields, global_batch_size=ROWS, num_workers=workers)


def of_program(loader: Loader) -> float:
    """What the program takes of a core for a picture that a worker loads."""
    for _ in range(WARM):
        next(loader)
    began = time.process_time()
    for _ in range(TIMED):
        next(loader)
    spent = time.process_time() - began
    loader.close()
    return 1e3 * spent / (TIMED * ROWS)


def of_worker(groups: TrainGroups) -> tuple[float, float]:
    """What a picture takes of a worker's core, and what decoding and resizing it alone does."""
    slots = Slots(groups.room(1), rows=groups.group_rows, workers=1)
    groups = groups.watched(Watch(1), slots)
    whole, shown = [], []
    for number in range(GROUPS):
        load = functools.partial(loaded, groups, slots, number)
        parts = shown_by(load)
        times = [(spent(load), spent(lambda parts=parts: [part() for part in parts]))
                 for _ in range(TRIES)]  # fmt: skip
        for found, least in zip((whole, shown), map(min, zip(*times, strict=True)), strict=True):
            found.append(1e3 * least / len(parts))
    return statistics.median(whole), statistics.median(shown)


def loaded(groups: TrainGroups, slots: Slots, number: int) -> None:
    """Loads a group into a slot, which is free again at once."""
    slots.free(int(groups[number][SLOT][0]))


def shown_by(load: Callable[[], Any]) -> list[Callable[[], Any]]:
    """The parts of pictures that are decoded and resized meanwhile, to be shown once more."""
    show, parts = Photo.show, []

    def noted(photo: Photo, *args: Any, **how: Any) -> Any:
        parts.append(functools.partial(show, photo, *args, **how))
        return parts[-1]()

    Photo.show = noted  # type: ignore[method-assign]
    try:
        load()
    finally:
        Photo.show = show  # type: ignore[method-assign]
    return parts


def spent(work: Callable[[], Any]) -> float:
    """Seconds of a core."""
    began = time.thread_time()
    work()
    return time.thread_time() - began


if __name__ == "__main__":
    main()
