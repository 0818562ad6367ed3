"""Find pictures by a sentence: prints and draws the best images of a data set.

  vlp search --workdir=runs/emoji "a red heart"
  vlp search --embeddings=embeddings "a red heart"

--embeddings is the folder of `vlp embed ... --index`: nothing but the sentence is encoded, however
large the data set is; model and data are those that were embedded.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

SUMMARY = "find pictures by a sentence"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vlp search`."""
    parser.add_argument("query", help="what to look for, in words")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--workdir", help="a run, or one of its checkpoints")
    where.add_argument("--embeddings", metavar="DIR", help="what vlp embed ... --index made")
    parser.add_argument("--data", help="tars, a folder or emoji:NAME; default: the report's data")
    parser.add_argument("--top", type=int, default=10, help="how many images (default %(default)s)")
    parser.add_argument("--out", metavar="FILE.png", help="default: search.png in the folder")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, _: list[str]) -> int:
    """Searches, prints the captions and draws the pictures, in the terminal and as a PNG."""
    from vlp.evals.draw import draw_results, print_images

    images, captions, scores = _in_run(args) if args.workdir else _in_embeddings(args)
    print_images(images, captions, scores)
    out = Path(args.out or Path(args.workdir or args.embeddings) / "search.png")
    draw_results(images, captions, scores, args.query, out)
    print(f"drawn in {out}")
    return 0


def _in_run(args: argparse.Namespace) -> tuple[list[Any], list[str], list[float]]:
    """Pictures, captions and cosines, from all embeddings of the data set, made now."""
    from data_pipelines.images import decode
    from vlp.cli.judge import Judge
    from vlp.cli.workdir import Workdir
    from vlp.evals.search import search

    workdir = Workdir(args.workdir)
    judge = Judge.of_run(args.workdir)
    gallery = judge.gallery(args.data or workdir.report_data())
    rows, scores = search(
        args.query,
        encoder=judge.encoder,
        tokenize=judge.tokenize,
        zimg=gallery.zimg,
        top=args.top,
    )
    images = [decode(gallery.source.image(int(gallery.ids[row]))) for row in rows]
    return images, [gallery.caption(int(row)) for row in rows], scores.tolist()


def _in_embeddings(args: argparse.Namespace) -> tuple[list[Any], list[str], list[float]]:
    """The same from embeddings that were made before."""
    from data_pipelines.images import decode
    from data_pipelines.sources import open_source
    from vlp.evals.search import check_query
    from vlp.interop.load import load_run
    from vlp.interop.loaded import fingerprint
    from vlp.vectors.index import search_index
    from vlp.vectors.shards import read_manifest, read_rows

    check_query(args.query, top=args.top)
    manifest = read_manifest(args.embeddings)
    model = load_run(manifest["model_source"], **manifest["model_settings"])
    if fingerprint(model.model) != manifest["model"]:
        raise ValueError(
            f"the model in {manifest['model_source']} must be the one that embedded the data, its "
            "weights are others now; embed the data again"
        )
    source = open_source(args.data or manifest["data_source"])
    if source.fingerprint != manifest["data"]:
        raise ValueError(
            f"--data must be what was embedded, {manifest['data_source']}; "
            f"{args.data or 'what is there now'} is something else"
        )
    ztxt = model.model.encode_text(model.tokenize(args.query)).embedding[0]
    ids, scores = search_index(args.embeddings, ztxt, top=args.top)
    captions = [row["caption"] for row in read_rows(args.embeddings, "images", ids.tolist())]
    return [decode(source.image(int(i))) for i in ids], captions, scores.tolist()
