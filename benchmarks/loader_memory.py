"""Memory of loading a large global batch over several hosts, simulated one after another.

  python benchmarks/loader_memory.py --global-batch-size=32768 --hosts=8 --workers=4

A host is a process of its own that takes a few batches of its share: photographs of 224 pixels and
captions, made up where they are asked for, so that only the loader holds memory. Printed are the
most that shared and resident memory of the process and its workers came to, beside what one
batch takes.
"""

import argparse
import multiprocessing
import os
import threading
import time
from pathlib import Path

import numpy as np

from data_pipelines.fields import Example
from data_pipelines.limits import LIMITS
from data_pipelines.loader import make_loader
from data_pipelines.sources.within import Within

SIZE, LENGTH, BATCHES = 224, 77, 3


class Nothing(Within):
    """A million samples that hold nothing."""

    name, limits, fingerprint = "nothing", LIMITS, "nothing"

    def __len__(self) -> int:
        return 1_000_000


class Row:
    """A field whose rows are one number, over and over."""

    def __init__(self, *shape: int, dtype: str) -> None:
        self.absent = np.zeros(shape, dtype)

    def __call__(self, example: Example) -> np.ndarray:
        return np.full_like(self.absent, example.index % 100)


def resident(pid: int) -> int:
    """Bytes of a process that are its own, shared memory left out."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text().split()
    except OSError:
        return 0
    return (int(pages[1]) - int(pages[2])) * os.sysconf("SC_PAGE_SIZE")


def shared(pid: int) -> int:
    """Bytes of memory that it shares, divided by who shares them."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Pss_Shmem:"))


class Peak(threading.Thread):
    """The most that was in use at once, looked at all the time."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.shared, self.resident, self.over = 0, 0, False

    def run(self) -> None:
        while not self.over:
            pids = [os.getpid(), *(child.pid for child in multiprocessing.active_children())]
            self.shared = max(self.shared, sum(shared(pid) for pid in pids))
            self.resident = max(self.resident, sum(resident(pid) for pid in pids))
            time.sleep(0.02)


def host(index: int, args: argparse.Namespace, found: multiprocessing.Queue) -> None:
    """Takes a host's share of some batches and says what that held."""
    fields = {
        "image": Row(SIZE, SIZE, 3, dtype="uint8"),
        "text": Row(LENGTH, dtype="int32"),
    }
    loader = make_loader(
        Nothing(),
        fields=fields,
        global_batch_size=args.global_batch_size,
        process_index=index,
        process_count=args.hosts,
        num_workers=args.workers,
        num_threads=args.threads,
    )
    peak = Peak()
    peak.start()
    for _ in range(BATCHES):
        batch = next(loader)
    peak.over = True
    own = sum(array.nbytes for array in batch.values())
    loader.close()
    found.put((index, own, peak.shared, peak.resident))


def main() -> None:
    """Measures every host and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--global-batch-size", type=int, default=32_768)
    parser.add_argument("--hosts", type=int, default=8)
    parser.add_argument("--workers", type=int, default=4, help="0: threads instead")
    parser.add_argument("--threads", type=int, default=4)
    args = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    found = context.Queue()
    print("| host | a batch, MB | shared, MB | resident, MB |\n|---|---|---|---|")
    for index in range(args.hosts):
        running = context.Process(target=host, args=(index, args, found))
        running.start()
        print("| " + " | ".join(_cells(*found.get())) + " |", flush=True)
        running.join()


def _cells(index: int, *sizes: int) -> list[str]:
    return [str(index), *(f"{size / 1e6:,.0f}" for size in sizes)]


if __name__ == "__main__":
    main()
