"""Embed the images and captions of a data set into files that other programs read.

  vlp embed --model=runs/emoji --data='shards/*.tar' --out=embeddings --index
  vlp search --embeddings=embeddings "a red heart"

Each shard of samples becomes images/NNNNN.npy and .parquet and captions/NNNNN.npy and .parquet: the
.npy is the matrix of unit-norm vectors, the parquet has them beside id, key, file and caption, for
a vector database. Stop it at any time and start the same command again: finished shards stay.

Started on several hosts with one --out that all of them see, each takes its share of the shards;
Slurm, Open MPI, GKE and Cloud TPU are recognised, elsewhere give --coordinator, --num-processes,
--process-id. --index builds a usearch index of the images.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from vlp.cli.arguments import (
    add_count_argument,
    add_data_argument,
    add_decoding_arguments,
    add_loading_arguments,
    add_model_argument,
    add_process_arguments,
    check_sizes,
    loading,
    local_folder,
    open_data,
    start_processes,
)

SUMMARY = "embed a data set into npy and parquet shards"
DTYPES = ("float16", "float32")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vlp embed`."""
    add_model_argument(parser)
    add_data_argument(parser)
    parser.add_argument(
        "--out", type=local_folder, required=True, metavar="DIR", help="made, or gone on with"
    )
    parser.add_argument("--index", action="store_true", help="build a usearch index of the images")
    parser.add_argument(
        "--captions",
        choices=("first", "all"),
        default="first",
        help="of each sample; default: %(default)s",
    )
    parser.add_argument(
        "--dtype", choices=DTYPES, default="float32", help="of the vectors; default: %(default)s"
    )
    add_count_argument(parser, "--shard-size", default=10_000, what="samples a shard")
    what = "images or captions encoded at once by each process"
    add_count_argument(parser, "--batch-size", default=256, what=what)
    add_decoding_arguments(parser)
    add_loading_arguments(parser)
    add_process_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, _: list[str]) -> int:
    """Embeds what is not there yet and says what is."""
    check_sizes(args, "shard_size", "batch_size", "threads")
    start_processes(args)
    from vlp.interop.load import load_run
    from vlp.jobs.data_checks import check_images
    from vlp.jobs.embed import Embed
    from vlp.jobs.embed_folder import EmbedFolder
    from vlp.jobs.job import claimed, provenance
    from vlp.parallel.lock import Lock, only_writer
    from vlp.parallel.together import on_first
    from vlp.vectors.index import check_usearch

    if args.index:
        check_usearch()
    source = open_data(args)
    loaded = load_run(args.model, **loading(args))
    if "num_queries" in loaded.card["model"]:
        raise ValueError(
            "vlp embed keeps a vector an image, and this model makes one a query; search by "
            "vlp search, or call encode_image"
        )
    if loaded.model.image is not None:
        check_images(source, "embedding")
    elif args.index:
        raise ValueError("--index is of images, and this model has no image tower; leave it out")
    rows = min(args.batch_size, args.shard_size, len(source))
    job = Embed(run=loaded, source=source, captions=args.captions, rows=rows, threads=args.threads)
    manifest = provenance(args, loaded, source) | {
        "shard_size": args.shard_size,
        "captions": args.captions,
        "dtype": args.dtype,
        "dim": loaded.card["model"]["embed_dim"],
    }
    with only_writer(Lock(args.out)):
        shards = claimed(lambda: EmbedFolder(args.out, manifest), source, role="embedding")
        job.write(shards)
        on_first(lambda: _report(args, shards, reads_captions=job.reads_captions))
    return 0


def _report(args: argparse.Namespace, shards: Any, *, reads_captions: bool) -> None:
    from vlp.vectors.index import build_index

    counts = shards.counts()
    print(
        f"{counts['images']:,} images and {counts['captions']:,} captions embedded in {args.out}, "
        f"{counts['rejected']:,} images could not be read, {counts['left_out']:,} captions are "
        "missing or could not be used"
    )
    if not reads_captions:
        print("captions are not embedded: the model has no text tower, or no tokenizer with it")
    if not counts["images"] + counts["captions"]:
        raise ValueError(f"nothing could be embedded: all of {args.data} is unusable")
    if args.index:
        print(f"index {build_index(Path(args.out))}")
