"""`vlp data stats | inspect`: what a data set is like, in numbers and to look at."""

import argparse
from pathlib import Path
from typing import Any

from vlp.cli.arguments import add_count_argument, check_sizes
from vlp.cli.data_jobs import add_job, begin, gather, open_indexed
from vlp.cli.data_progress import showing

STATS = """\
Count what a data set holds: what cannot be used and why, and how sizes, contrasts and captions are
distributed. Every picture is decoded once.

  vlp data stats --data='web/*.tar' --out=web-stats

DIR/statistics.json has the numbers, DIR/facts a row a sample as parquet."""
INSPECT = """\
Make one page to look at of a data set: pictures with captions, distributions, what cannot be used.

  vlp data inspect --data='web/*.tar' --out=web-page
  vlp data inspect --data='web/*.tar' --manifest=once --out=once-page

--manifest is the folder of another job over the same data (dedup, filter, balance, label): the page
then shows, too, pictures of what stayed and of what did not, by reason."""
PAGE = "inspect.html"


def add_jobs(commands: Any) -> None:
    """Adds the jobs to those of `vlp data`."""
    add_job(commands, "stats", summary="count what data hold", about=STATS, run=_stats)
    inspect = add_job(
        commands, "inspect", summary="a page to look at the data", about=INSPECT, run=_inspect
    )
    add_count_argument(inspect, "--samples", default=48, what="pictures that are shown")
    inspect.add_argument("--manifest", metavar="DIR", help="of another job over the same data")


def _stats(args: argparse.Namespace, _: list[str]) -> None:
    work, statistics = _gathered(args)
    from vlp.jobs.data_page import print_statistics

    print_statistics(statistics)
    print(f"written to {work.out}")


def _inspect(args: argparse.Namespace, _: list[str]) -> None:
    from vlp.jobs.data_page import manifest_files, write_page

    check_sizes(args, "samples")
    manifest = []
    if args.manifest:  # refused before anything is read
        manifest = manifest_files(Path(args.manifest), open_indexed(args.data, args))
    work, statistics = _gathered(args)
    path = work.out / PAGE
    write_page(path, work=work, statistics=statistics, samples=args.samples, manifest=manifest)
    print(f"open {path}")


def _gathered(args: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """The work of a job whose facts are all there, and its statistics."""
    work, flags = begin(args, {})
    from data_pipelines.jobs.statistics import gather_statistics

    gather(work, flags, pictures=True)
    with showing("counting"):
        return work, gather_statistics(work, flags)
