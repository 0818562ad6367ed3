"""Embed the images and captions of a data set into files that other programs read.

  vlp embed --model=runs/emoji --data=shards/*.tar --out=embeddings --index
  vlp search --embeddings=embeddings "a red heart"

Each shard of samples becomes images/NNNNN.npy and .parquet and captions/NNNNN.npy and .parquet: the
.npy is the matrix of unit-norm vectors, the parquet has them beside id, key and caption, for a
vector database. Stop it at any time and start the same command again: finished shards stay. Started
on several hosts, each takes its share of the shards. --index builds a usearch index of the images.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from vlp.cli.importing import add_loading_arguments, loading

SUMMARY = "embed a data set into npy and parquet shards"
DTYPES = ("float16", "float32")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vlp embed`."""
    parser.add_argument(
        "--model",
        "--workdir",
        dest="model",
        required=True,
        metavar="[FORMAT:]PATH",
        help="a run, or weights of another stack",
    )
    parser.add_argument("--data", required=True, help="tars, a folder, or emoji:NAME")
    parser.add_argument("--out", required=True, metavar="DIR", help="made, or gone on with")
    parser.add_argument("--index", action="store_true", help="build a usearch index of the images")
    parser.add_argument(
        "--captions", choices=("first", "all"), default="first", help="default: %(default)s"
    )
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="default: %(default)s")
    parser.add_argument(
        "--shard-size", type=int, default=10_000, metavar="N", help="samples (default %(default)s)"
    )
    parser.add_argument(
        "--batch-size",
        type=int,
        default=256,
        metavar="N",
        help="rows encoded at once by this process (default %(default)s)",
    )
    add_loading_arguments(parser)
    parser.add_argument("--coordinator", metavar="HOST:PORT", help="process 0 of several")
    parser.add_argument("--num-processes", type=int, metavar="N", help="how many there are")
    parser.add_argument("--process-id", type=int, metavar="I", help="which one this is")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, _: list[str]) -> int:
    """Embeds what is not there yet and says what is."""
    from vlp.parallel.startup import start

    start(
        coordinator=args.coordinator,
        num_processes=args.num_processes,
        process_id=args.process_id,
    )
    import jax

    from data_pipelines.sources import open_source
    from vlp.interop.load import load_run
    from vlp.vectors.index import check_usearch

    if args.index:
        check_usearch()
    _check_sizes(args)
    loaded = load_run(args.model, **loading(args))
    source = open_source(args.data)
    shards = _shards(args, loaded, source)
    own = [s for s in range(len(shards)) if s % jax.process_count() == jax.process_index()]
    _embed(args, loaded, source, shards, [s for s in own if not shards.is_done(s)])
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices("all shards are written")
    if jax.process_index() == 0:
        _finish(args, shards)
    return 0


def _check_sizes(args: argparse.Namespace) -> None:
    for name in ("shard_size", "batch_size"):
        if getattr(args, name) < 1:
            flag = "--" + name.replace("_", "-")
            raise ValueError(f"{flag} must be at least 1, got {getattr(args, name)}")


def _shards(args: argparse.Namespace, loaded: Any, source: Any) -> Any:
    from vlp.interop.formats import detect
    from vlp.interop.loaded import fingerprint
    from vlp.vectors.shards import Shards

    kind, path = detect(args.model)

    manifest = {
        "model": fingerprint(loaded.model),
        "model_source": f"{kind}:{path}",
        "model_settings": loading(args),
        "data": source.fingerprint,
        "data_source": str(args.data),
        "samples": len(source),
        "shard_size": args.shard_size,
        "captions": args.captions,
        "dtype": args.dtype,
        "dim": loaded.card["model"]["embed_dim"],
    }
    return Shards(args.out, manifest)


def _embed(
    args: argparse.Namespace, loaded: Any, source: Any, shards: Any, numbers: list[int]
) -> None:
    import jax
    from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TimeRemainingColumn

    from data_pipelines.sources.part import PartSource
    from vlp.evals.embed import Encoder
    from vlp.parallel.mesh import make_mesh

    if not numbers:
        return
    # This process's devices only: its shards are nobody else's business.
    mesh = make_mesh(devices=jax.local_devices())
    encoder = Encoder.from_model(loaded.model, text=loaded.card["model"]["text"], mesh=mesh)
    columns = ("{task.description}", SpinnerColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    ranges = [shards.samples(number) for number in numbers]
    with Progress(*columns, disable=jax.process_index() != 0) as bar:
        task = bar.add_task("samples", total=sum(stop - first for first, stop in ranges))
        for number, (first, stop) in zip(numbers, ranges, strict=True):
            done = bar.tasks[0].completed
            part = PartSource(source, first, stop)
            written = _embed_part(
                args, loaded, encoder, part, progress=lambda n, d=done: bar.update(task, completed=d + n)
            )
            shards.write(number, **written)
            bar.update(task, completed=done + stop - first)


def _embed_part(
    args: argparse.Namespace, loaded: Any, encoder: Any, part: Any, *, progress: Any
) -> dict[str, Any]:
    """The columns of one shard; ids count through the whole data set."""
    from data_pipelines.evaluation import eval_captions, eval_images

    nothing = {"embedding": _empty(loaded), "id": [], "key": [], "caption": []}
    texts, sample_of_text = eval_captions(part, captions=args.captions)
    first_caption = dict(zip(sample_of_text[::-1].tolist(), texts[::-1], strict=True))
    written: dict[str, Any] = {"images": nothing, "captions": nothing, "rejected": 0}
    if loaded.model.image is not None:
        batches = eval_images(part, loaded.preprocess, batch_size=args.batch_size)
        found = encoder.embed_images(batches, progress=progress, at_least_one=False)
        written["rejected"] = found.rejected
        written["images"] = {
            "embedding": found.vectors if len(found) else nothing["embedding"],
            "id": found.ids + part.first,
            "key": [part.key(int(i)) for i in found.ids],
            "caption": [first_caption.get(int(i), "") for i in found.ids],
        }
    if loaded.model.text is not None and loaded.tokenizer is not None and texts:
        written["captions"] = {
            "embedding": encoder.embed_texts(texts, loaded.tokenize, batch_size=args.batch_size),
            "id": sample_of_text + part.first,
            "key": [part.key(int(i)) for i in sample_of_text],
            "caption": texts,
        }
    return written


def _empty(loaded: Any) -> Any:
    import numpy as np

    return np.zeros((0, loaded.card["model"]["embed_dim"]), np.float32)


def _finish(args: argparse.Namespace, shards: Any) -> None:
    from vlp.vectors.index import build_index

    counts = shards.counts()
    print(
        f"{counts['images']} images and {counts['captions']} captions embedded in {args.out}, "
        f"{counts['rejected']} images could not be read"
    )
    if args.index:
        print(f"index {build_index(Path(args.out))}")
