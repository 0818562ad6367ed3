"""Find pictures by a sentence: prints and draws the best images of a data set.

  vlp search --model=runs/emoji "a red heart"
  vlp search --model=hf:models/clip-b32 --data=pictures/ "a red heart"
  vlp search --embeddings=embeddings "a red heart"

--model is a run of vlp or weights of another stack, as `vlp import --help` lists them; it embeds
all of --data first. --embeddings is the folder of `vlp embed ... --index`: nothing but the sentence
is encoded, however large the data set is; model and data are those that were embedded.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from vlp.cli.importing import add_loading_arguments, add_model_argument, loading

SUMMARY = "find pictures by a sentence"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vlp search`."""
    parser.add_argument("query", help="what to look for, in words")
    where = parser.add_mutually_exclusive_group(required=True)
    add_model_argument(where, required=False)
    where.add_argument("--embeddings", metavar="DIR", help="what vlp embed ... --index made")
    parser.add_argument(
        "--data",
        help="tars, a folder or emoji:NAME; default: what the run reports on, or what was embedded",
    )
    parser.add_argument("--top", type=int, default=10, help="how many images (default %(default)s)")
    parser.add_argument(
        "--out",
        metavar="FILE.png",
        help="default: search.png in the folder of the run or the embeddings, else here",
    )
    add_loading_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, _: list[str]) -> int:
    """Searches, prints the captions and draws the pictures, in the terminal and as a PNG."""
    from vlp.evals.draw import draw_results, print_images
    from vlp.evals.search import check_query

    check_query(args.query, top=args.top)
    find = _with_model if args.model else _in_embeddings
    images, captions, scores, folder = find(args)
    print_images(images, captions, scores)
    out = Path(args.out or folder / "search.png")
    draw_results(images, captions, scores, args.query, out)
    print(f"drawn in {out}")
    return 0


Found = tuple[list[Any], list[str], list[float], Path]
"""Pictures, captions and cosines, best first, and the folder for the drawing."""


def _with_model(args: argparse.Namespace) -> Found:
    """From all embeddings of the data set, made now."""
    from data_pipelines.images import decode
    from vlp.cli.judge import Judge
    from vlp.cli.workdir import Workdir
    from vlp.evals.search import search
    from vlp.interop.formats import RUN
    from vlp.interop.load import load_run

    loaded = load_run(args.model, **loading(args))
    workdir = Workdir(loaded.folder) if loaded.format == RUN else None
    data = args.data or _report_data(args, workdir)
    judge = Judge.of_run(loaded)
    gallery = judge.gallery(data)
    rows, scores = search(
        args.query,
        encoder=judge.encoder,
        tokenize=judge.tokenize,
        zimg=gallery.zimg,
        top=args.top,
    )
    images = [decode(gallery.source.image(int(gallery.ids[row]))) for row in rows]
    captions = [gallery.caption(int(row)) for row in rows]
    return images, captions, scores.tolist(), workdir.path if workdir else Path()


def _report_data(args: argparse.Namespace, workdir: Any) -> str:
    """The data that a run reports on; weights of other stacks, or imported, have none."""
    if workdir is None or not workdir.config.is_file():
        raise ValueError(
            f"{args.model} was not trained here on any data; say where to look: --data"
        )
    return workdir.report_data()


def _in_embeddings(args: argparse.Namespace) -> Found:
    """From embeddings that were made before."""
    import numpy as np

    from data_pipelines.images import decode
    from vlp.vectors.index import search_index
    from vlp.vectors.shards import read_manifest

    manifest = read_manifest(args.embeddings)
    model = _embedder(args, manifest)
    source = _embedded(args, manifest)
    ztxt = model.model.encode_text(model.tokenize(args.query)).embedding[0]
    rows, scores = search_index(args.embeddings, np.asarray(ztxt), top=args.top)
    images = [decode(source.image(row.id)) for row in rows]
    return images, [row.caption for row in rows], scores.tolist(), Path(args.embeddings)


def _embedder(args: argparse.Namespace, manifest: dict[str, Any]) -> Any:
    """The model that embedded the data."""
    from vlp.interop.load import load_run
    from vlp.interop.loaded import fingerprint

    given = loading(args)
    settings = manifest["model_settings"]
    for name in settings:
        if name in given:
            flag = "--" + name.replace("_", "-")
            raise ValueError(f"{flag} is as it was for vlp embed; leave it out")
    model = load_run(manifest["model_source"], **given | settings)
    if fingerprint(model.model) != manifest["model"]:
        raise ValueError(
            f"the model in {manifest['model_source']} must be the one that embedded the data, its "
            "weights are others now; embed the data again"
        )
    return model


def _embedded(args: argparse.Namespace, manifest: dict[str, Any]) -> Any:
    """The data that was embedded."""
    from data_pipelines.sources import open_source

    try:
        source = open_source(args.data or manifest["data_source"])
    except ValueError as error:
        raise ValueError(f"{error}; if the data has moved, say where to by --data") from error
    if source.fingerprint != manifest["data"]:
        raise ValueError(
            f"--data must be what was embedded, {manifest['data_source']}; "
            f"{args.data or 'what is there now'} is something else"
        )
    return source
