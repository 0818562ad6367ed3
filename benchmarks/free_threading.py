"""Decoding and augmenting by threads and by processes, with and without the interpreter's lock.

  PYTHONPATH=. python3.13t benchmarks/free_threading.py
  PYTHONPATH=. python3.13t -X gil=1 benchmarks/free_threading.py

Photographs are made up, 500x375, as PNG, which Pillow decodes: where simplejpeg is missing, as it
is for interpreters without the lock, it is not needed for them. Each round takes every way once, so
that other work on the machine meets all of them. Printed are what imports do to the lock, and the
medians of the rates.
"""

import argparse
import contextlib
import importlib
import io
import multiprocessing
import statistics
import sys
import time
import types
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
from PIL import Image

PICTURES, SIZE = 24, 224
LIBRARIES = (
    "numpy",
    "PIL.Image",
    "simplejpeg",
    "pyarrow",
    "soundfile",
    "cykooz_resizer",
    "array_record.python.array_record_module",
    "grain",
)


def lock_is_on() -> bool:
    """Whether one thread at a time runs Python."""
    return getattr(sys, "_is_gil_enabled", lambda: True)()


def said_of(library: str) -> str:
    """What its import does."""
    before = lock_is_on()
    try:
        importlib.import_module(library)
    except ImportError as error:
        return f"cannot be imported: {error}"
    return "turns the lock on" if lock_is_on() > before else "leaves the lock as it is"


def photographs() -> list[bytes]:
    """PNG files of smooth noise."""
    rng, files = np.random.default_rng(0), []
    for _ in range(PICTURES):
        coarse = Image.fromarray(rng.integers(0, 256, (30, 40, 3), np.uint8))
        file = io.BytesIO()
        coarse.resize((500, 375), Image.Resampling.BICUBIC).save(file, "PNG", compress_level=1)
        files.append(file.getvalue())
    return files


def prepared(seed: int, data: bytes) -> int:
    """The sum of the pixels of a picture as a run trains on it."""
    with contextlib.suppress(ImportError):
        importlib.import_module("simplejpeg")
    sys.modules.setdefault("simplejpeg", types.ModuleType("simplejpeg"))
    from data_pipelines.photo_augment import PhotoAugment

    colour = dict(brightness=0.2, contrast=0.2)
    augment = PhotoAugment(SIZE, crop=(0.5, 1), flip_p=0.5, interpolation="bicubic", **colour)
    return int(augment.of_file(data, np.random.default_rng(seed)).sum())


def rate(pool: Executor, files: list[bytes]) -> float:
    """Pictures a second."""
    begun = time.perf_counter()
    list(pool.map(prepared, range(PICTURES), files, chunksize=2))
    return PICTURES / (time.perf_counter() - begun)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    print(f"Python {sys.version.partition('(')[0]}, lock {'on' if lock_is_on() else 'off'}")
    for library in LIBRARIES:
        print(f"  {library} {said_of(library)}")
    print(f"after these imports the lock is {'on' if lock_is_on() else 'off'}")
    spawned = multiprocessing.get_context("spawn")
    with contextlib.ExitStack() as stack:
        pools: dict[str, Executor] = {
            "1 thread": ThreadPoolExecutor(1),
            "2 threads": ThreadPoolExecutor(2),
            "2 processes": ProcessPoolExecutor(2, mp_context=spawned),
        }
        files, rates = photographs(), {name: list[float]() for name in pools}
        for pool in pools.values():
            rate(stack.enter_context(pool), files)  # imports, and what is done once
        for _ in range(rounds):
            for name, pool in pools.items():
                rates[name].append(rate(pool, files))
    for name, found in rates.items():
        print(
            f"{name}: {statistics.median(found):.0f} pictures/s ({min(found):.0f}-{max(found):.0f})"
        )


if __name__ == "__main__":
    main()
