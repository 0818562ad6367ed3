"""Bytes a second of tars read in order from a web server with latency, beside the same tars here.

python benchmarks/remote_throughput.py --latency-ms=20 --megabytes=400

Samples are read one after the other, as a block shuffle reads them, by one thread, whole; the
server is a process of its own on this machine. Local and remote runs alternate; a ratio is of a
pair.
"""

import argparse
import io
import json
import multiprocessing
import os
import statistics
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np

from data_pipelines.io import blocks
from data_pipelines.sources import TarSource, build_indexes
from tests.small.http_server import serving

PICTURE, TAR = 100_000, 2_000  # bytes of a sample, samples of a tar


def serve(folder: str, latency: float, place: multiprocessing.Queue) -> None:
    """Serves a folder until the process ends."""
    with serving(Path(folder)) as (address, faults):
        faults.latency = latency
        place.put(address)
        time.sleep(1e6)


def write_tars(folder: Path, megabytes: int) -> list[Path]:
    """Tars of random bytes."""
    rng = np.random.default_rng(0)
    paths = []
    for number in range(-(-megabytes * 10**6 // (PICTURE * TAR))):
        paths.append(folder / f"{number:04}.tar")
        with tarfile.open(paths[-1], "w", format=tarfile.USTAR_FORMAT) as tar:
            for sample in range(TAR):
                for name, count in ((f"{sample:05}.jpg", PICTURE), (f"{sample:05}.txt", 60)):
                    info = tarfile.TarInfo(name)
                    info.size = count
                    tar.addfile(info, io.BytesIO(rng.bytes(count)))
    return paths


def rate(source: TarSource, work_s: float) -> float:
    """Megabytes a second, where each sample is also worked on for some time."""
    began, size = time.perf_counter(), 0
    for index in range(len(source)):
        size += len(source.image(index)) + len(source.captions(index)[0])
        until = time.perf_counter() + work_s
        while time.perf_counter() < until:  # a decoder's work, which does not sleep
            pass
    return size / 1e6 / (time.perf_counter() - began)


def main() -> None:
    """The command line; prints a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--latency-ms", type=float, default=20.0)
    parser.add_argument("--megabytes", type=int, default=400)
    parser.add_argument("--pairs", type=int, default=3, help="of runs")
    parser.add_argument("--work-ms", type=float, default=3.0, help="on a sample, as decoding is")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        os.environ["VLP_CACHE"] = str(Path(name) / "cache")
        paths = write_tars(Path(name), args.megabytes)
        context = multiprocessing.get_context("spawn")
        place = context.Queue()
        server = context.Process(target=serve, args=(name, args.latency_ms / 1e3, place))
        server.start()
        try:
            address = place.get()
            addresses = [f"{address}/{path.name}" for path in paths]
            build_indexes(addresses)
            sources = TarSource(paths), TarSource(addresses)
            found = []
            for _ in range(args.pairs):
                blocks._after_fork()  # no block of the run before
                found.append([rate(source, args.work_ms / 1e3) for source in sources])
        finally:
            server.kill()
            server.join()
    here, there = (statistics.median(column) for column in zip(*found, strict=True))
    ratio = statistics.median(far / near for near, far in found)
    print(json.dumps(dict(local_mb_s=here, remote_mb_s=there, ratio=ratio, cores=os.cpu_count())))


if __name__ == "__main__":
    main()
