"""Write a caption for every picture of a data set.

  vlp caption --model=runs/coca --data='shards/*.tar' --out=captions.jsonl
  vlp caption --model=open_clip:models/coca --data=pictures/ --out=captions.jsonl --sheet=sheet.png

The model must write captions, as CoCa and BLIP do. A line a picture, in the data's order:
  {"key": "000017", "index": 17, "file": "shards/00.tar", "caption": "a red heart", "score": -0.41}
and for a picture that cannot be read {"key": ..., "index": ..., "error": "image truncated"}. The
score is the log-probability of a token, in nats (for --method=beam to the power --length-penalty).

--method beam finds the best of --beams captions, greedy takes the likeliest word every time, and
nucleus draws words, so that another --seed gives other captions. With --prompt "a picture of" every
caption begins so, for models that were trained that way or to be led; the lines hold what follows.

Stop it at any time and start the same command again: captions that are written stay. Started on
several hosts with one --out that all of them see, each takes its share; Slurm, Open MPI, GKE and
Cloud TPU are recognised, elsewhere give --coordinator, --num-processes, --process-id.
"""

import argparse
from collections import Counter
from typing import Any

from vlp.cli.arguments import (
    add_data_argument,
    add_job_arguments,
    add_model_argument,
    check_sizes,
    loading,
    local_path,
    open_data,
    start_processes,
)
from vlp.jobs.outputs import CAPTIONS, SHEET, check_output

SUMMARY = "write a caption for every picture of a data set"
METHODS = ("greedy", "beam", "nucleus")
# A flag's name here, and the setting of `vlp.generation` that it is.
_COMMON = {"length": "length", "min_length": "min_length"}
_OWN: dict[str, dict[str, str]] = {
    "greedy": {},
    "beam": {"beams": "num_beams", "length_penalty": "length_penalty"},
    "nucleus": {"top_p": "top_p", "top_k": "top_k", "temperature": "temperature", "seed": "seed"},
}
EXAMPLES, ON_SHEET = 5, 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vlp caption`."""
    add_model_argument(parser)
    add_data_argument(parser)
    parser.add_argument(
        "--out", type=local_path, required=True, metavar="FILE.jsonl", help="made, or gone on with"
    )
    parser.add_argument(
        "--sheet", type=local_path, metavar="FILE.png", help="draw some pictures with captions"
    )
    parser.add_argument(
        "--prompt", default="", metavar="TEXT", help="what captions begin with; left out of them"
    )
    parser.add_argument("--method", choices=METHODS, default="beam", help="default: %(default)s")
    parser.add_argument("--beams", type=int, metavar="N", help="of beam; default: 3")
    parser.add_argument(
        "--length-penalty", type=float, metavar="X", help="of beam: above 0 for long captions"
    )
    parser.add_argument(
        "--top-p", type=float, metavar="P", help="of nucleus: draw from this share; default: 0.9"
    )
    parser.add_argument(
        "--top-k", type=int, metavar="N", help="of nucleus: draw from the likeliest N only"
    )
    parser.add_argument("--temperature", type=float, metavar="X", help="of nucleus; default: 1")
    parser.add_argument("--seed", type=int, metavar="N", help="of nucleus; default: 0")
    parser.add_argument(
        "--length",
        type=int,
        metavar="TOKENS",
        help="at most, first and last token included; default: the model's",
    )
    parser.add_argument(
        "--min-length", type=int, metavar="TOKENS", help="at least, without the last; default: 0"
    )
    part = ("--part-size", "images that go to one process together", 1024)
    add_job_arguments(parser, at_once=("images captioned at once", 64), part=part)


def run(args: argparse.Namespace, _: list[str]) -> None:
    """Captions what is not captioned yet and shows some of it."""
    check_sizes(args, "batch_size", "part_size", "beams", "threads")
    given = _given(args)
    check_output("--out", args.out, CAPTIONS)
    if args.sheet:
        check_output("--sheet", args.sheet, SHEET)
    start_processes(args)
    from vlp.interop.load import load_run
    from vlp.jobs.caption import Caption, fitting_method
    from vlp.jobs.caption_file import CaptionFile
    from vlp.jobs.data_checks import check_images
    from vlp.jobs.job import provenance
    from vlp.parallel.lock import Lock

    source = open_data(args)
    check_images(source, "captioning")
    loaded = load_run(args.model, **loading(args))
    method = fitting_method(loaded, args.method, prompt=args.prompt, **given)
    manifest = provenance(args, loaded, source) | {
        "part_size": args.part_size,
        "method": method.name,
        "settings": dict(method.settings),
        "seed": method.seed,
    }
    rows = min(args.batch_size, args.part_size, len(source))
    job = Caption(run=loaded, source=source, method=method, rows=rows, threads=args.threads)
    job.carry_out(
        lambda: CaptionFile(args.out, manifest),
        lock=Lock.beside(args.out),
        role="captioning",
        report=lambda file: _show(args, file, source),
    )


def _given(args: argparse.Namespace) -> dict[str, Any]:
    """The settings of the method that were given; those of another method are refused."""
    flags = {flag for own in (_COMMON, *_OWN.values()) for flag in own}
    mine = _COMMON | _OWN[args.method]
    for flag in sorted(flags - mine.keys()):
        if getattr(args, flag) is not None:
            owner = next(method for method, own in _OWN.items() if flag in own)
            raise ValueError(
                f"--{flag.replace('_', '-')} is of --method={owner}, got --method={args.method}; "
                "leave one of them out"
            )
    return {mine[flag]: getattr(args, flag) for flag in mine if getattr(args, flag) is not None}


def _show(args: argparse.Namespace, file: Any, source: Any) -> None:
    """Says how many there are, and shows some that are spread over the whole."""
    from data_pipelines.evaluation import sample_pixels
    from data_pipelines.faults import summary
    from vlp.evals.draw import draw_results
    from vlp.evals.writing import plain

    lines = list(file.rows())
    good = [line for line in lines if "caption" in line]
    faults = summary(Counter(line["error"] for line in lines if "error" in line))
    print(f"{len(good):,} captions in {file.path}, images that could not be read: {faults}")
    if not good:
        raise ValueError(f"nothing could be captioned: all of {args.data} is unusable")
    for line in _spread(good, EXAMPLES):
        print(f"  {line['score']:7.3f}  {plain(line['key'])}  {plain(line['caption'])}")
    if args.sheet:
        shown = _spread(good, ON_SHEET)
        images = [sample_pixels(source, line["index"]) for line in shown]
        captions, scores = ([line[name] for line in shown] for name in ("caption", "score"))
        title = f"{args.data} captioned by {args.model}"
        draw_results(images, captions, scores, title, args.sheet)
        print(f"drawn in {args.sheet}")


def _spread(lines: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    count = min(count, len(lines))
    return [lines[i * len(lines) // count] for i in range(count)]
