"""Embed the images and captions of a data set into files that other programs read.

  vlp embed --model=runs/emoji --data='shards/*.tar' --out=embeddings --index
  vlp search --embeddings=embeddings "a red heart"

Each shard of samples becomes images/NNNNN.npy and .parquet and captions/NNNNN.npy and .parquet: the
.npy is the matrix of unit-norm vectors, the parquet has them beside id, key, file and caption, for
a vector database. Stop it at any time and start the same command again: finished shards stay.

Started on several hosts with one --out that all of them see, each takes its share of the shards;
Slurm, Open MPI, GKE and Cloud TPU are recognised, elsewhere give --coordinator, --num-processes,
--process-id. --index builds a usearch index of the images.

--views=K --config=EXPERIMENT embeds each image K times, as that training's first K epochs augment
it: a training with config.data.vectors.NAME=DIR repeats these augmentations, so that picture and
vector fit (Vasu et al., 2023, https://arxiv.org/abs/2311.17049).
"""

import argparse
from pathlib import Path
from typing import Any

from vlp.cli.arguments import (
    add_data_argument,
    add_job_arguments,
    add_model_argument,
    check_sizes,
    loading,
    local_folder,
    open_data,
    start_processes,
)
from vlp.cli.overrides import add_config_argument

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
    parser.add_argument(
        "--views", type=int, metavar="K", help="augmentations of each image, by --config"
    )
    add_config_argument(parser, required=False)
    part = ("--shard-size", "samples a shard", 10_000)
    add_job_arguments(parser, at_once=("images or captions encoded at once", 256), part=part)


def run(args: argparse.Namespace, overrides: list[str]) -> None:
    """Embeds what is not there yet and says what is."""
    check_sizes(args, "shard_size", "batch_size", "threads", "views")
    config = _config(args, overrides)
    start_processes(args)
    from vlp.interop.load import load_run
    from vlp.jobs.data_checks import check_images
    from vlp.jobs.embed import Embed
    from vlp.jobs.embed_folder import EmbedFolder
    from vlp.jobs.job import provenance
    from vlp.parallel.lock import Lock
    from vlp.run.vectors import views_of
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
    views = None if config is None else _views(config, loaded, count=args.views)
    common: Any = dict(run=loaded, source=source, rows=rows, threads=args.threads)
    job = Embed(**common, captions=args.captions, views=views)
    manifest = provenance(args, loaded, source) | {
        "shard_size": args.shard_size,
        "captions": args.captions,
        "dtype": args.dtype,
        "dim": loaded.card["model"]["embed_dim"],
    }
    if config is not None:
        manifest["views"] = views_of(config, count=args.views)
    job.carry_out(
        lambda: EmbedFolder(args.out, manifest),
        lock=Lock(args.out),
        role="embedding",
        report=lambda shards: _report(args, shards, job),
    )


def _config(args: argparse.Namespace, overrides: list[str]) -> Any:
    """The config whose augmentations are embedded; None without views.

    Raises:
        ValueError: one of the flags lacks the other, or an index is asked for.
    """
    if not args.views and not args.config and not overrides:
        return None
    if not args.views or not args.config:
        raise ValueError("--views=K and --config=EXPERIMENT go together; give both or neither")
    if args.index:
        raise ValueError("--index is of images as they are, not of --views; leave one of them out")
    from vlp.cli.config import load_config

    return load_config(args.config, overrides)


def _views(config: Any, loaded: Any, *, count: int) -> Any:
    """The pictures of a config's training, which the model must take as they are.

    Raises:
        ValueError: it takes pictures of another size, or none.
    """
    from vlp.jobs.embed import Views
    from vlp.run.vectors import pictures

    if "size" not in config.preprocess:
        raise ValueError(
            f"--views are pictures of one size, got config.preprocess.kind={config.preprocess.kind}"
            "; embed them as they are, without --views and --config"
        )
    tower, size = loaded.card["model"]["image"], config.preprocess.size
    if tower is not None and tower.get("kind") == "naflex":
        raise ValueError(
            "--views are pictures of one size, the model takes them at their own aspect ratio; "
            "embed them as they are, without --views and --config"
        )
    if tower is None or tower.get("image_size") != size:
        takes = "no pictures" if tower is None else f"pictures of {tower.get('image_size')} pixels"
        raise ValueError(
            f"--views are pictures of {size} pixels (config.preprocess.size), the model takes "
            f"{takes}; give --image-size={size}, or another model"
        )
    return Views(pictures(config), count, config.seed)


def _report(args: argparse.Namespace, shards: Any, job: Any) -> None:
    from vlp.vectors.index import build_index

    counts = shards.counts()
    print(
        f"{counts['images']:,} images and {counts['captions']:,} captions embedded in {args.out}, "
        f"{counts['rejected']:,} images could not be read, {counts['left_out']:,} captions are "
        "missing or could not be used"
    )
    if not job.reads_captions:
        print("captions are not embedded: the model has no text tower, or no tokenizer with it")
    if "audio" in job.run.model.towers:
        print("sounds are not embedded: a folder of embeddings holds images and captions alone")
    if not counts["images"] + counts["captions"]:
        raise ValueError(f"nothing could be embedded: all of {args.data} is unusable")
    if args.index:
        print(f"index {build_index(Path(args.out))}")
