"""Find pictures by a sentence: prints and draws the best images of a data set.

vlp search --workdir=runs/emoji "a red heart"
"""

from __future__ import annotations

import argparse
from pathlib import Path

SUMMARY = "find pictures by a sentence"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vlp search`."""
    parser.add_argument("query", help="what to look for, in words")
    parser.add_argument("--workdir", required=True, help="a run, or one of its checkpoints")
    parser.add_argument("--data", help="tars, a folder or emoji:NAME; default: the report's data")
    parser.add_argument("--top", type=int, default=10, help="how many images (default %(default)s)")
    parser.add_argument("--out", metavar="FILE.png", help="default: search.png in the workdir")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, _: list[str]) -> int:
    """Searches, prints the captions and draws the pictures, in the terminal and as a PNG."""
    from data_pipelines.images import decode
    from vlp.cli.judge import Judge
    from vlp.cli.workdir import Workdir
    from vlp.evals.draw import draw_results, print_images
    from vlp.evals.search import search

    workdir = Workdir(args.workdir)
    data = args.data or workdir.report_data()
    judge = Judge.of_run(args.workdir)
    gallery = judge.gallery(data)
    rows, scores = search(
        args.query,
        encoder=judge.encoder,
        tokenize=judge.tokenize,
        zimg=gallery.zimg,
        top=args.top,
    )
    samples = [int(gallery.ids[row]) for row in rows]
    images = [decode(gallery.source.image(i)) for i in samples]
    captions = [gallery.caption(int(row)) for row in rows]
    print_images(images, captions, scores.tolist())
    out = Path(args.out or workdir.path / "search.png")
    draw_results(images, captions, scores.tolist(), args.query, out)
    print(f"drawn in {out}")
    return 0
