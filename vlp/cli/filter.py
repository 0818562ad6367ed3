"""Keep the captions of a data set that a model finds to match their pictures.

  vlp caption --model=runs/captioner --data='web/*.tar' --out=synthetic.jsonl
  vlp filter --model=runs/filter --data='web/*.tar' --captions=synthetic.jsonl --out=clean
  vlp train --config=experiments/own_data.py:data='clean/*.tar' --workdir=runs/again

The model must tell whether image and text belong together, as ALBEF and BLIP do. Scored are the
data's own captions ("web") and those of --captions ("synthetic"); a caption is kept where the
model gives at least --threshold as the probability that it matches. Pictures without any caption
left are dropped. This is the filter of CapFilt (Li et al., 2022, BLIP,
https://arxiv.org/abs/2201.12086, section 3.3), which keeps what is likelier to match than not;
experiments/capfilt.py trains filter and captioner and has the whole recipe.

--out becomes a folder:
  00000.tar ...     the kept samples with their sounds; .captions has a line a caption, the data's
                    own first, .json the sample's metadata and under "vlp_filter" its old key and
                    file, sources and scores
  manifest.jsonl    a line a caption, kept or not:
                    {"key": "017", "index": 17, "file": "web/0.tar", "source": "web",
                     "caption": "a red heart", "score": 0.93, "kept": true}
                    and {"key": ..., "index": ..., "error": ...} for a picture that cannot be read
                    or has no caption; "left_out" says why a sample lost its sound or metadata
  filter.json       the model, the data and the settings

In the end it says what share of each source was kept, and below which probability 5 %, 25 %, 50 %,
75 % and 95 % of its captions lie: by these choose another --threshold, with another --out.

Stop it at any time and start the same command again: parts that are done stay. Started on several
hosts with one --out that all of them see, each takes its share of the parts.
"""

import argparse
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

# Shares of the captions, below whose probabilities they lie.
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
SUMMARY = "keep the captions that match their pictures"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vlp filter`."""
    add_model_argument(parser)
    add_data_argument(parser)
    parser.add_argument("--captions", metavar="FILE.jsonl", help="more captions, by vlp caption")
    parser.add_argument(
        "--out", type=local_folder, required=True, metavar="DIR", help="made, or gone on with"
    )
    parser.add_argument(
        "--threshold",
        type=float,
        default=0.5,
        metavar="P",
        help="least probability of a match (default %(default)s)",
    )
    part = ("--part-size", "pictures of the data that go to one tar and process", 512)
    add_job_arguments(parser, at_once=("images encoded at once", 64), part=part)


def run(args: argparse.Namespace, _: list[str]) -> None:
    """Filters what is not filtered yet and says how much was kept."""
    check_sizes(args, "batch_size", "part_size", "threads")
    if not 0 <= args.threshold <= 1:
        raise ValueError(f"--threshold must be a probability, got {args.threshold}; try 0.5")
    start_processes(args)
    from vlp.interop.load import load_run
    from vlp.jobs.data_checks import check_images
    from vlp.jobs.filter import Filter, check_matches, read_synthetic
    from vlp.jobs.filter_folder import FilterFolder
    from vlp.jobs.job import provenance
    from vlp.parallel.lock import Lock

    source = open_data(args)
    check_images(source, "filtering")
    synthetic, captions = read_synthetic(args.captions, source)
    loaded = load_run(args.model, **loading(args))
    check_matches(loaded)
    manifest = provenance(args, loaded, source) | {
        "captions": captions,
        "threshold": args.threshold,
        "part_size": args.part_size,
    }
    rows = min(args.batch_size, args.part_size, len(source))
    job = Filter(run=loaded, source=source, synthetic=synthetic, rows=rows, threads=args.threads)
    make, lock = (lambda: FilterFolder(args.out, manifest)), Lock(args.out)
    job.carry_out(make, lock=lock, role="filtering", report=_report)


def _report(folder: Any) -> None:
    """Says how many captions were kept, how likely matches are, and what to do with it all."""
    import numpy as np

    from data_pipelines.faults import summary

    scored, faults, lost = folder.scores()
    found = {name: both for name, both in scored.items() if len(both[1])}
    print(f"samples left out: {summary(faults)}")
    if lost:
        print(f"sounds and fields left out of samples that were kept: {summary(lost)}")
    for name, (kept, scores) in found.items():
        print(f"{kept:,} of {len(scores):,} {name} captions kept ({kept / len(scores):.1%})")
    if not found:
        raise ValueError(
            f"{folder.path} has no tar: --data has no caption of a picture that can be read"
        )
    print("probability of a match" + "".join(f"{share:>8.0%}" for share in QUANTILES))
    for name, (_, scores) in found.items():
        values = "".join(f"{value:8.3f}" for value in np.quantile(scores, QUANTILES))
        print(f"  {name:20}{values}")
    if any(kept for kept, _ in found.values()):
        print(f"written to {folder.path}; train on {folder.path}/*.tar")
        return
    half = np.median(np.concatenate([scores for _, scores in found.values()]))
    print(
        f"{folder.path} has no tar: nothing is as likely to match as --threshold="
        f"{folder.manifest['threshold']:g}; train the model longer, or give another --out and a "
        f"lower --threshold: {half:.3f} would keep about half"
    )
