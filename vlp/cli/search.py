"""Find pictures by a sentence: prints and draws the best images of a data set.

  vlp search --model=runs/emoji "a red heart"
  vlp search --model=hf:models/clip-b32 --data=pictures/ "a red heart"
  vlp search --embeddings=embeddings "a red heart"

--model is a run of vlp or weights of another stack, as `vlp import --help` lists them; it embeds
all of --data first, which need no captions, and keeps what it made: in search/ in the folder of a
run, else in $VLP_CACHE/galleries (~/.cache/vlp), 2 GiB at most in each. Another search by the same
weights in the same data embeds only its words. --embeddings is the folder of `vlp embed ...
--index`, for data sets of any size; model and data are those that were embedded.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from vlp.cli.arguments import (
    add_data_argument,
    add_decoding_arguments,
    add_loading_arguments,
    add_model_argument,
    check_sizes,
    limits,
    loading,
    local_path,
)
from vlp.jobs.outputs import SHEET, check_output

SUMMARY = "find pictures by a sentence"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vlp search`."""
    parser.add_argument("query", nargs="+", help="what to look for, in words")
    where = parser.add_mutually_exclusive_group(required=True)
    add_model_argument(where, required=False)
    where.add_argument("--embeddings", metavar="DIR", help="what vlp embed ... --index made")
    add_data_argument(
        parser, required=False, default="what the run reports on, or what was embedded"
    )
    parser.add_argument("--top", type=int, default=10, help="how many images (default %(default)s)")
    parser.add_argument(
        "--out",
        type=local_path,
        metavar="FILE.png",
        help="default: search.png in the folder of the run or the embeddings, else here",
    )
    add_decoding_arguments(parser)
    add_loading_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, _: list[str]) -> int:
    """Searches, prints the captions and draws the pictures, in the terminal and as a PNG."""
    query = " ".join(args.query)
    check_sizes(args, "threads")
    if args.out:
        check_output("--out", args.out, SHEET)
    from vlp.caches import use_compilation_cache
    from vlp.evals.search import check_query
    from vlp.jobs.search import in_embeddings, with_model

    check_query(query, top=args.top)
    use_compilation_cache(from_s=0.0)  # a search has little to compile, and nothing else to do
    if args.model:
        found = with_model(
            args.model,
            query,
            data=args.data,
            limits=limits(args),
            top=args.top,
            threads=args.threads,
            **loading(args),
        )
    else:
        given = loading(args)
        found = in_embeddings(
            args.embeddings,
            query,
            data=args.data,
            max_pixels=args.max_pixels,
            top=args.top,
            **given,
        )
    out = Path(args.out or found.folder / "search.png")
    check_output("--out", out, SHEET)
    _show(found, query, out)
    return 0


def _show(found: Any, query: str, out: Path) -> None:
    from data_pipelines.evaluation import sample_pixels
    from vlp.evals.draw import draw_results, print_images
    from vlp.jobs.search import called

    images = [sample_pixels(found.source, index) for index in found.indices]
    names = [called(found.source, index) for index in found.indices]
    print_images(images, names, found.scores)
    draw_results(images, names, found.scores, query, out)
    print(f"drawn in {out}")
