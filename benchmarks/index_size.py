"""How long data of many tars take to open, shuffle and give a first batch, and in how much memory.

python benchmarks/index_size.py --tars=1000 --samples=10000 --workers=4
python benchmarks/index_size.py --tars=100000 --samples=10000 --workers=4
python benchmarks/index_size.py --tars=100000 --samples=10000 --synthetic

The tars are hard links of a few with small JPEGs, so that a billion samples need little disk; their
index is written as `vlp data index` writes it. --synthetic leaves out the tars but one, and
measures the index alone: its size, and the time to find a sample. Memory is the sum over this
process and its workers, shared pages divided by who shares them (PSS), as the kernel counts it.
"""

import argparse
import dataclasses
import io
import json
import multiprocessing
import os
import shutil
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from data_pipelines.fields import Example
from data_pipelines.loader import make_loader
from data_pipelines.sources import TarSource
from data_pipelines.sources.tar_index import NAME, TarIndex, save_index
from data_pipelines.sources.tar_scan import scan, stretches

LINKS = 50_000  # of one file, of which file systems have a limit


class Size:
    """The size of a picture's file, as a field of a batch."""

    absent = np.zeros((), np.int64)

    def __call__(self, example: Example) -> np.ndarray:
        return np.asarray(len(example.source.image(example.index)))


def write_tar(path: Path, count: int) -> None:
    """A tar of small JPEGs."""
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    Image.fromarray(pixels).save(file, "JPEG")
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for number in range(count):
            for name, data in ((f"{number:06}.jpg", file.getvalue()), (f"{number:06}.txt", b"a")):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))


def make(folder: Path, *, tars: int, samples: int, synthetic: bool) -> list[Path]:
    """The tars with their index."""
    first = folder / "000000.tar"
    write_tar(first, samples)
    paths = [folder / f"{number:06}.tar" for number in range(tars)]
    for number, path in enumerate(() if synthetic else paths[1:], start=1):
        if number % LINKS:
            os.link(paths[number - number % LINKS], path)
        else:
            shutil.copy2(first, path)
    one = scan(first)
    save_index(folder / NAME, [dataclasses.replace(one, name=path.name) for path in paths])
    return paths


def own_bytes(process: int) -> int:
    """What a process holds, shared pages divided by who shares them."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def first_batch(paths: list[Path], *, workers: int) -> dict[str, float]:
    """Seconds and bytes until a shuffled batch of 64 is there."""
    began = time.perf_counter()
    source = TarSource(paths)
    opened = time.perf_counter() - began
    loader = make_loader(source, fields={"size": Size()}, global_batch_size=64, num_workers=workers)
    batch = next(loader)
    took = time.perf_counter() - began
    assert batch["weight"].all(), "every sample must be there"
    processes = [os.getpid(), *(child.pid for child in multiprocessing.active_children())]
    memory = sum(own_bytes(each) for each in processes)
    loader.close()
    return dict(
        samples=len(source), open_s=opened, first_batch_s=took, memory_mb=memory / 1e6,
        processes=len(processes),
    )  # fmt: skip


def of_index(folder: Path) -> dict[str, float]:
    """Size of an index, and the time to open it and to find a sample."""
    began = time.perf_counter()
    index = TarIndex.load(folder / NAME)
    opened = time.perf_counter() - began
    rng = np.random.default_rng(0)
    ends = np.cumsum(index.samples)
    chosen = rng.integers(0, ends[-1], 10_000).tolist()
    began = time.perf_counter()
    for place in chosen:
        row = int(np.searchsorted(ends, place, "right"))
        next(stretches(*index.places(row), place - int(ends[row] - index.samples[row])))
    found = (time.perf_counter() - began) / len(chosen)
    size = (folder / NAME).stat().st_size
    return dict(
        samples=int(ends[-1]), index_gib=size / 2**30, bytes_a_sample=size / int(ends[-1]),
        open_s=opened, find_us=1e6 * found, memory_mb=own_bytes(os.getpid()) / 1e6,
    )  # fmt: skip


def main() -> None:
    """The command line; prints a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--tars", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=10_000, help="in each tar")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--synthetic", action="store_true", help="the index alone")
    parser.add_argument("--folder", help="where to; with the tars in it already if it is there")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as fresh:
        folder = Path(args.folder or fresh)
        paths = [folder / f"{number:06}.tar" for number in range(args.tars)]
        if not (folder / NAME).exists():
            folder.mkdir(exist_ok=True)
            make(folder, tars=args.tars, samples=args.samples, synthetic=args.synthetic)
        found = of_index(folder) if args.synthetic else first_batch(paths, workers=args.workers)
    print(json.dumps({name: round(value, 3) for name, value in found.items()}))


if __name__ == "__main__":
    main()
