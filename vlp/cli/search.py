"""Find pictures by a sentence, or by a sound: prints and draws the best images of a data set.

  vlp search --model=runs/emoji "a red heart"
  vlp search --model=hf:models/clip-b32 --data=pictures/ "a red heart"
  vlp search --embeddings=embeddings "a red heart"
  vlp search --model=runs/spoken --sound=heart.ogg

--model is a run of vlp or weights of another stack, as `vlp import --help` lists them; it embeds
all of --data first, which need no captions, and keeps what it made: in search/ in the folder of a
run, else in $VLP_CACHE/galleries (~/.cache/vlp), 2 GiB at most in each. Another search by the same
weights in the same data embeds only its words. --embeddings is the folder of `vlp embed ...
--index`, for data sets of any size; model and data are those that were embedded.
"""

import argparse
from pathlib import Path
from typing import Any

from data_pipelines.threads import THREADS
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

SUMMARY = "find pictures by a sentence or a sound"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vlp search`."""
    parser.add_argument("query", nargs="*", help="what to look for, in words")
    parser.add_argument(
        "--sound",
        type=local_path,
        metavar="FILE",
        help="what to look for, in place of words, by a model that hears",
    )
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


def run(args: argparse.Namespace, _: list[str]) -> None:
    """Searches, prints the captions and draws the pictures, in the terminal and as a PNG."""
    query = _query(args)
    check_sizes(args, "threads")
    if args.embeddings and args.threads != THREADS:
        raise ValueError(
            f"--threads decode the data that --model embeds, got {args.threads} beside "
            "--embeddings, which hold theirs; leave it out"
        )
    if args.out:
        check_output("--out", args.out, SHEET)
    from vlp.caches import use_compilation_cache
    from vlp.evals.search import check_query
    from vlp.jobs.search import in_embeddings, with_model

    check_query(str(query), top=args.top)
    use_compilation_cache(from_s=0.0)  # a search has little to compile, and nothing else to do
    given = dict(data=args.data, top=args.top, **loading(args))
    if args.model:
        found = with_model(args.model, query, limits=limits(args), threads=args.threads, **given)
    else:
        found = in_embeddings(args.embeddings, query, max_pixels=args.max_pixels, **given)
    out = Path(args.out or found.folder / "search.png")
    check_output("--out", out, SHEET)
    _show(found, str(query), out)


def _query(args: argparse.Namespace) -> str | Path:
    """The words, or the file of a sound.

    Raises:
        ValueError: both are given, or there is no such file.
    """
    if args.sound is None:
        return " ".join(args.query)
    if args.query:
        raise ValueError(
            f"a search is by words or by --sound, got {' '.join(args.query)!r} beside "
            f"{args.sound}; leave one of them out"
        )
    if not Path(args.sound).is_file():
        raise ValueError(f"--sound must be a file, {args.sound} is none")
    return Path(args.sound)


def _show(found: Any, query: str, out: Path) -> None:
    from data_pipelines.evaluation import sample_pixels
    from vlp.evals.draw import draw_results, print_images
    from vlp.jobs.search import called

    images = [sample_pixels(found.source, index) for index in found.indices]
    names = [called(found.source, index) for index in found.indices]
    print_images(images, names, found.scores)
    draw_results(images, names, found.scores, query, out)
    print(f"drawn in {out}")
