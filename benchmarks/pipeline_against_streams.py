"""Photographs to batches: ours from tars, other streaming pipelines from formats of their own.

  python benchmarks/pipeline_against_streams.py --sizes 512

Needs mosaicml-streaming, litdata, torchdata, webdataset and nvidia-dali-cuda120 (its CPU part needs
neither a GPU nor a driver), a torchvision made for the torch beside it, and the packages that ship
the photographs of pipeline_against_open_clip.py, whose tars, crops and timing these are. Every side
shuffles files of the local disk and makes batches of 64: pixels as bytes at 224, of crops of 90 to
100 %, shrunk by an antialiased bicubic filter, and CLIP's tokens, by our tokenizer on every side.

- MosaicML streaming reads MDS shards that hold JPEGs as bytes, LitData chunks of 64 MB of its
  `Jpeg`, both in workers of their own DataLoader; torchdata's nodes map what webdataset reads of
  the tars in threads. All three decode and crop by torchvision on tensors, which is quicker than
  on Pillow's pictures.
- DALI reads the tars by the index that its wds2idx writes, and decodes, crops and resizes in as
  many threads of its own. It has no tokenizer: captions become tokens in the program's thread.

Else they have their defaults; a worker of torchdata or DALI is a thread. Only ours decodes a JPEG
at the fewest eighths of its size that fill the output. A side that cannot run is left out, and why
is said. Sides alternate, each in a process of its own; printed are medians of the rounds and of the
rounds' ratios.
"""

import functools
import gc
import json
import os
import platform
import statistics
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from pipeline_against_open_clip import (
    CROP,
    LENGTH,
    OUTPUT,
    ROWS,
    SIZES,
    arguments,
    measured,
    ours,
    ratio,
    timed,
    write_tars,
)

from data_pipelines.tokens.base import Tokenizer
from data_pipelines.tokens.clip import clip_tokenizer

RATIO = (3 / 4, 4 / 3)  # width over height, torchvision's and our default
CHUNK = "64MB"  # as its documentation advises for small samples
OURS = ("vlp, bicubic", "vlp, bicubic_simd")
PACKAGES = (
    "mosaicml-streaming", "litdata", "torchdata", "webdataset", "nvidia-dali-cuda120", "torch",
    "torchvision", "pillow", "simplejpeg", "cykooz-resizer",
)  # fmt: skip


def main() -> None:
    """Writes the tars, runs all rounds and prints the tables."""
    args = arguments(__doc__.splitlines()[0], rounds=3)
    if args.side:
        print(json.dumps(SIDES[args.side](Path(args.folder), args.workers[0])))
        return
    print(f"pictures/s, medians of {args.rounds} rounds; {platform.machine()}; {versions()}")
    with tempfile.TemporaryDirectory() as folder:
        for size in args.sizes:
            place = Path(folder) / str(size)
            write_tars(place, SIZES[size])
            for workers in args.workers:
                compare(place, size, workers, args.rounds)


def compare(folder: Path, size: int, workers: int, rounds: int) -> None:
    """Runs the sides in turn and prints a table."""
    print(f"\n{'x'.join(map(str, SIZES[size]))}, {workers} worker{'s' * (workers > 1)}\n")
    rates: dict[str, list[float]] = {side: [] for side in SIDES}
    for _ in range(rounds):
        for side in list(rates):
            try:
                rates[side].append(measured(side, folder, workers, script=__file__))
            except RuntimeError as error:
                if side in OURS:
                    raise
                print(f"Left out: {error}\n")
                del rates[side]
    print(f"| side | pictures/s | range | {OURS[0]} over it | {OURS[1]} over it |")
    print("|---|---|---|---|---|")
    for side, found in rates.items():
        over = " | ".join(f"{ratio(rates[us], found):.2f}" for us in OURS)
        spread = f"{min(found):.0f}-{max(found):.0f}"
        print(f"| {side} | {statistics.median(found):.0f} | {spread} | {over} |", flush=True)


def of_mosaicml(folder: Path, workers: int) -> float:
    """MosaicML streaming, with MDS shards."""
    from streaming import MDSWriter, StreamingDataLoader, StreamingDataset

    shards = folder / "mds"
    if not shards.exists():
        with MDSWriter(out=str(shards), columns={"image": "bytes", "text": "str"}) as writer:
            for tar in tars(folder):
                for row in pairs(tar):
                    writer.write(row)
    prepare = preparing()

    class Prepared(StreamingDataset):  # a method is where its documentation has transforms
        def __getitem__(self, at: int) -> dict[str, Any]:
            return prepare(super().__getitem__(at))

    rows = Prepared(local=str(shards), batch_size=ROWS, shuffle=True)
    return timed(iter(StreamingDataLoader(rows, batch_size=ROWS, num_workers=workers)))


def of_litdata(folder: Path, workers: int) -> float:
    """LitData, with its optimised chunks."""
    # What it writes on the way to its chunks would stay beside other programs' temporary files.
    os.environ["DATA_OPTIMIZER_CACHE_FOLDER"] = str(folder / "litdata cache")
    os.environ["DATA_OPTIMIZER_DATA_CACHE_FOLDER"] = str(folder / "litdata data")
    from litdata import StreamingDataLoader, StreamingDataset, optimize

    chunks = folder / "litdata"
    if not chunks.exists():
        optimize(jpegs, tars(folder), str(chunks), chunk_bytes=CHUNK, start_method="fork")
    rows = StreamingDataset(str(chunks), shuffle=True, drop_last=True, transform=preparing())
    return timed(iter(StreamingDataLoader(rows, batch_size=ROWS, num_workers=workers)))


def jpegs(tar: str) -> Iterator[dict[str, Any]]:
    """The samples of a tar as LitData tells a JPEG from other bytes."""
    from litdata import Jpeg

    for row in pairs(tar):
        yield row | {"image": Jpeg(bytes=row["image"])}


def of_torchdata(folder: Path, workers: int) -> float:
    """torchdata's nodes, over the reader of webdataset."""
    import torch
    from torch.utils.data import default_collate
    from torchdata import nodes
    from webdataset import WebDataset

    torch.set_num_threads(1)  # as in the workers of a DataLoader
    paths = tars(folder)
    read = WebDataset(paths, shardshuffle=len(paths)).shuffle(1000)
    read = read.rename(image="jpg", text="txt").map_dict(text=bytes.decode)
    node = nodes.ParallelMapper(nodes.IterableWrapper(read), preparing(), num_workers=workers)
    node = nodes.Mapper(nodes.Batcher(node, ROWS), default_collate)
    rate = timed(iter(nodes.Loader(nodes.Prefetcher(node, prefetch_factor=2))))
    gc.collect()  # a circle of objects holds threads, which must end before Python does
    return rate


def of_dali(folder: Path, workers: int) -> float:
    """DALI on the CPU, with its reader of tars; pixels are `[n, h, w, 3]`."""
    from nvidia.dali import fn, pipeline_def, types
    from nvidia.dali.plugin.pytorch import DALIGenericIterator

    paths = tars(folder)

    @pipeline_def(batch_size=ROWS, num_threads=workers, device_id=None)
    def pipeline() -> tuple[Any, Any]:
        jpeg, caption = fn.readers.webdataset(
            paths=paths,
            index_paths=[indexed(path) for path in paths],
            ext=["jpg", "txt"],
            random_shuffle=True,
            name="tars",
        )
        crop = fn.decoders.image_random_crop(
            jpeg, random_area=CROP["crop"], random_aspect_ratio=RATIO
        )
        pixels = fn.resize(
            crop, size=(OUTPUT, OUTPUT), interp_type=types.INTERP_CUBIC, antialias=True
        )
        return pixels, fn.pad(caption)

    tokenizer = clip_tokenizer()
    batches = (
        (batch["image"], tokenizer.encode(unpadded(batch["text"].numpy()), LENGTH))
        for (batch,) in DALIGenericIterator(pipeline(), ["image", "text"], reader_name="tars")
    )
    return timed(batches)


def indexed(tar: str) -> str:
    """The path of the index of a tar, written by DALI's script where there is none."""
    from wds2idx import IndexCreator

    index = f"{tar}.idx"
    if not os.path.exists(index):
        with IndexCreator(tar, index, verbose=False) as creator:
            creator.create_index()
    return index


def unpadded(captions: np.ndarray) -> list[str]:
    """The captions of rows of bytes that end in zeros."""
    return [row.tobytes().rstrip(b"\0").decode() for row in captions]


def preparing() -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """From a sample to pixels and tokens, as the three that run in PyTorch do it."""
    from torchvision.transforms import InterpolationMode, v2

    crop = v2.RandomResizedCrop(
        OUTPUT, scale=CROP["crop"], ratio=RATIO, interpolation=InterpolationMode.BICUBIC
    )
    return functools.partial(prepared, crop=crop, tokenizer=clip_tokenizer())


def prepared(
    row: Mapping[str, Any], *, crop: Callable[[Any], Any], tokenizer: Tokenizer
) -> dict[str, Any]:
    """Pixels `[3, h, w]`, uint8, and tokens of a JPEG, or of what LitData has decoded."""
    import torch
    from torchvision.io import ImageReadMode, decode_jpeg

    pixels = row["image"]
    if isinstance(pixels, bytes):
        data = torch.frombuffer(bytearray(pixels), dtype=torch.uint8)
        pixels = decode_jpeg(data, mode=ImageReadMode.RGB)
    return {"image": crop(pixels), "text": tokenizer.encode([row["text"]], LENGTH)[0]}


def pairs(tar: str) -> Iterator[dict[str, Any]]:
    """The samples of a tar: a JPEG and its caption."""
    with tarfile.open(tar) as opened:
        contents = (opened.extractfile(member).read() for member in opened)  # type: ignore[union-attr]
        for jpeg, caption in zip(contents, contents, strict=True):
            yield {"image": jpeg, "text": caption.decode()}


def tars(folder: Path) -> list[str]:
    """Their paths."""
    return sorted(map(str, folder.glob("*.tar")))


def versions() -> str:
    """Of what takes part."""
    return ", ".join(f"{package} {installed(package)}" for package in PACKAGES)


def installed(package: str) -> str:
    """Its version, if it is there."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


SIDES: dict[str, Callable[[Path, int], float]] = {
    OURS[0]: ours("bicubic"),
    OURS[1]: ours("bicubic_simd"),
    "MosaicML streaming": of_mosaicml,
    "LitData": of_litdata,
    "torchdata nodes": of_torchdata,
    "DALI": of_dali,
}


if __name__ == "__main__":
    main()
