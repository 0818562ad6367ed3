"""What the jobs of `vlp data` that Apache Beam carries out have in common."""

import argparse
import dataclasses
import logging
import shlex
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlp.cli.arguments import (
    add_count_argument,
    add_data_argument,
    check_sizes,
    limits,
    local_folder,
)
from vlp.cli.data_progress import indexed, parts_in, showing

if TYPE_CHECKING:
    from data_pipelines.jobs.shards import Form
    from data_pipelines.jobs.work import Work
    from data_pipelines.sources import Source

SHARED = """\
Stop it at any time and start the same command again: parts that are done stay. --runner is who
carries it out: this process unless you say DaskRunner, FlinkRunner, SparkRunner, DataflowRunner or
another of Apache Beam's, whose own flags go into --beam="--dask_client_address=HOST:PORT" (see
docs/data.md). All workers must see --data and --out at the same paths."""
LAYOUTS = ("tars", "parquet", "folder")
NO_SHARDS = "none"


def add_job(
    commands: Any, name: str, *, summary: str, about: str, run: Callable[..., None]
) -> argparse.ArgumentParser:
    """Adds a job with the flags that all have, for its own to be added.

    Args:
        commands: of `vlp data`.
        name: of the job.
        summary: a line for the list of jobs.
        about: what its help says.
        run: called with the flags, once Beam is there and those that all jobs have are right.
    """
    parser = commands.add_parser(
        name, help=summary, description=f"{about}\n\n{SHARED}", allow_abbrev=False
    )
    add_data_argument(parser)
    parser.add_argument(
        "--out", type=local_folder, required=True, metavar="DIR", help="made, or gone on with"
    )
    add_count_argument(
        parser, "--shard-size", default=10_000, what="samples of the data a part and shard"
    )
    parser.add_argument("--max-pixels", type=int, metavar="N", help="leave out larger pictures")
    add_count_argument(parser, "--workers", default=1, what="processes of this machine")
    parser.add_argument("--runner", metavar="NAME", help="of Apache Beam; default: this process")
    parser.add_argument("--beam", default="", metavar="FLAGS", help="more flags for the runner")
    parser.set_defaults(run=partial(_checked, run))
    return parser


def _checked(run: Callable[..., None], args: argparse.Namespace, overrides: list[str]) -> None:
    check_sizes(args, "shard_size", "workers", "max_pixels")
    if args.runner and args.workers > 1:
        raise ValueError(
            "--workers are processes of this machine, and --runner has its own; say how many by "
            "--beam"
        )
    check_beam()
    run(args, overrides)


def add_form(parser: argparse.ArgumentParser, *, none: bool) -> None:
    """Adds the flags of how samples are written.

    Args:
        parser: of a job.
        none: whether it may write its manifest alone.
    """
    choices = (*LAYOUTS, NO_SHARDS) if none else LAYOUTS
    known = f"{', '.join(choices)}; default: %(default)s"
    parser.add_argument("--layout", choices=choices, default=LAYOUTS[0], help=known)
    parser.add_argument(
        "--resize", type=int, metavar="PIXELS", help="scale larger pictures to this shorter side"
    )
    parser.add_argument(
        "--quality", type=int, metavar="N", help="of the JPEGs that these become (default 95)"
    )


def begin(args: argparse.Namespace, settings: Mapping[str, Any]) -> tuple["Work", list[str]]:
    """The work of a job, and Beam's flags; says how much it is.

    Args:
        args: the flags.
        settings: JSON values: what changes the job's results. They stay in the folder, so that
            whatever can be refused must have been before.

    Raises:
        ValueError: the folder is of something else.
    """
    from data_pipelines.jobs.work import begin

    flags = _flags(args)
    open_indexed(args.data, args)
    work = begin(
        args.data,
        Path(args.out).absolute(),
        settings={"job": args.job, **settings},
        part_size=args.shard_size,
        limits=limits(args),
    )
    told = f"{work.samples:,} samples in {len(work):,} parts of up to {work.part_size:,}"
    print(f"{args.job}: {told}", file=sys.stderr, flush=True)
    return work, flags


def _flags(args: argparse.Namespace) -> list[str]:
    """Beam's. Raises ValueError where the runner cannot begin."""
    from data_pipelines.jobs.clusters import on_cluster
    from data_pipelines.jobs.runners import in_process

    if args.runner:
        return on_cluster(args.runner, shlex.split(args.beam))
    if args.beam:
        raise ValueError(
            f"--beam is of flags for --runner, got {args.beam!r} without one; name the runner"
        )
    return in_process(args.workers)


def open_indexed(spec: str, args: argparse.Namespace) -> "Source":
    """Data as workers open them, once in this process.

    Tars without an index are indexed first: else each worker would read all their headers. A single
    tar is read as fast as an index would be.

    Args:
        spec: of the data.
        args: the flags of the job.
    """
    from data_pipelines.jobs.work import opened
    from data_pipelines.opening import tars_within
    from data_pipelines.sources.tar_indexes import unindexed

    missing = unindexed(tars_within(spec))
    if len(missing) > 1:
        for built in indexed(missing):
            print(f"{built.path}: {len(built.tars):,} tars, {built.scanned:,} of them read now")
    return opened(spec, limits(args))


def gather(
    work: "Work",
    flags: list[str],
    *,
    pictures: bool,
    captions: bool = True,
    where: str = "facts",
    doing: str = "reading",
) -> None:
    """`gather_facts`, with what is done shown.

    Args:
        work, flags, pictures, captions, where: as there.
        doing: a word for it.
    """
    from data_pipelines.jobs.facts import gather_facts

    folder = work.out / where
    with showing(doing, total=len(work), done=lambda: parts_in(folder)):
        gather_facts(work, flags, pictures=pictures, captions=captions, where=where)


def judge(work: "Work", flags: list[str], judging: Callable[..., Any]) -> None:
    """Beam's part of a job, with how many parts of the manifest there are shown."""
    from data_pipelines.jobs import verdicts

    folder = verdicts.manifest_path(work, 0).parent
    with showing("judging", total=len(work), done=lambda: parts_in(folder)):
        verdicts.judge(work, flags, judging)


def check_beam() -> None:
    """Raises ValueError where Apache Beam is not installed."""
    logging.disable(logging.WARNING)  # it tells of clouds that it could not import
    try:
        import apache_beam  # noqa: F401
    except ImportError as error:
        raise ValueError(
            f"this job needs Apache Beam ({error}); pip install 'vlp[jobs]', best in an "
            "environment of its own, for Beam wants an older protobuf than other packages"
        ) from error
    finally:
        logging.disable(logging.NOTSET)


def form_of(args: argparse.Namespace) -> "Form | None":
    """How samples are written by the flags of `add_form`; None where none are.

    Raises:
        ValueError: a value out of its range, or a flag that would change nothing.
    """
    from data_pipelines.jobs.shards import Form

    given = {name: getattr(args, name) for name in ("resize", "quality")}
    given = {name: value for name, value in given.items() if value is not None}
    if args.layout == NO_SHARDS:
        for name, value in given.items():
            raise ValueError(
                f"--{name} is of pictures that are written, and --layout=none writes none, got "
                f"{value}; leave it out, or give another --layout"
            )
        return None
    if given.keys() == {"quality"}:
        raise ValueError(
            f"--quality is of the JPEGs that --resize makes, got {args.quality} without --resize; "
            "give --resize=PIXELS, or leave it out"
        )
    return Form(args.layout, **given)


def form_settings(form: "Form | None") -> dict[str, Any]:
    """The same as JSON values."""
    return {"layout": NO_SHARDS} if form is None else dataclasses.asdict(form)


def write_and_say(
    work: "Work", flags: list[str], form: "Form | None", *, chosen: bool = True
) -> None:
    """Writes what stays and says how much that was.

    Args:
        work: whose manifest is there, if `chosen`.
        flags: of Beam.
        form: how; None writes nothing.
        chosen: whether a manifest says what stays.
    """
    from data_pipelines.faults import summary
    from data_pipelines.jobs.shards import CHANGED, DONE, LEFT_OUT, write_shards
    from data_pipelines.jobs.verdicts import reasons

    if chosen:
        kept, why = reasons(work)
        print(f"{kept:,} of {work.samples:,} samples stay ({kept / max(1, work.samples):.1%})")
        print(f"others: {summary(why)}")
        print(f"manifest: {work.out}/manifest")
    if form is None:
        return
    with showing("writing", total=len(work), done=lambda: parts_in(work.out / DONE)):
        counts = write_shards(work, flags, form, chosen=chosen)
    written = counts.pop("written")
    counts.pop(LEFT_OUT, None)  # told above
    changed = {how: number for name, how in CHANGED.items() if (number := counts.pop(name, 0))}
    print(f"{written:,} of {work.samples:,} samples written; could not be: {summary(counts)}")
    for how, number in changed.items():
        print(f"{number:,} of them {how}")
    if not written:
        raise ValueError(f"{work.out} has no shard: no sample was to be written, or none could be")
    pattern = {"tars": "/*.tar", "parquet": "/*.parquet", "folder": ""}[form.layout]
    print(f"train on {work.out}{pattern}")
