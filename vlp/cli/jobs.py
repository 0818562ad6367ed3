"""What the commands share that go through a whole data set: processes, progress, provenance."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from data_pipelines.limits import LIMITS, Limits
from data_pipelines.threads import THREADS
from vlp.cli.parser import Joined

if TYPE_CHECKING:
    from data_pipelines.sources import Source
    from data_pipelines.sources.part import PartSource


def add_data_argument(
    parser: argparse.ArgumentParser, *, required: bool = True, default: str = ""
) -> None:
    """Adds the flag that names data; given several times, as by a shell that takes braces apart, it
    names all of them.

    Args:
        parser: of a command.
        required: whether it must be given.
        default: what is taken where it is not, in words.
    """
    several = "tars, a folder, pictures, or emoji:NAME; several by commas, or given again"
    parser.add_argument(
        "--data",
        action=Joined,
        required=required,
        help=f"{several}; default: {default}" if default else several,
    )


def add_decoding_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of everything that decodes pictures."""
    parser.add_argument(
        "--threads",
        type=int,
        default=THREADS,
        metavar="N",
        help="batches of pictures that are decoded at the same time (default %(default)s)",
    )
    parser.add_argument(
        "--max-pixels",
        type=int,
        metavar="N",
        help=f"leave out larger pictures, height times width (default {LIMITS.pixels})",
    )


def limits(args: argparse.Namespace) -> Limits:
    """How large samples may be, by the flags."""
    return LIMITS if args.max_pixels is None else Limits(pixels=args.max_pixels)


def open_data(args: argparse.Namespace) -> Source:
    """The data of a command."""
    from data_pipelines.sources import open_source  # a mistyped flag need not wait for it

    return open_source(args.data, limits=limits(args))


def add_process_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of a job of several processes."""
    parser.add_argument("--coordinator", metavar="HOST:PORT", help="process 0 of several")
    parser.add_argument("--num-processes", type=int, metavar="N", help="how many there are")
    parser.add_argument("--process-id", type=int, metavar="I", help="which one this is, from 0")


def start_processes(args: argparse.Namespace) -> None:
    """Joins the other processes of the job, where there are any."""
    from vlp.parallel.startup import start

    start(
        coordinator=args.coordinator,
        num_processes=args.num_processes,
        process_id=args.process_id,
    )


def check_sizes(args: argparse.Namespace, *names: str) -> None:
    """Raises ValueError when a count among the flags is below 1."""
    for name in names:
        value = getattr(args, name)
        if value is not None and value < 1:
            flag = "--" + name.replace("_", "-")
            raise ValueError(f"{flag} must be at least 1, got {value}")


def provenance(args: argparse.Namespace, loaded: Any, source: Any) -> dict[str, Any]:
    """Model and data of a job, as JSON values by which both can be opened again."""
    from vlp.interop.formats import RUN
    from vlp.interop.loaded import fingerprint

    path = loaded.folder
    if loaded.format == RUN:  # this very checkpoint, should the run go on
        path = loaded.folder / "checkpoints" / str(loaded.step)
    return {
        "model": fingerprint(loaded.model),
        "model_source": f"{loaded.format}:{path}",
        "model_settings": {
            "weights": args.weights or "auto",
            "arch": args.arch,
            "image_size": args.image_size,
            "text_length": args.text_length,
            "tokenizer": args.tokenizer,
        },
        "preprocess": loaded.card["preprocess"],
        "tokenizer": loaded.card["tokenizer"],
        "data": source.fingerprint,
        "data_source": args.data,
        "max_pixels": source.limits.pixels,
        "samples": len(source),
    }


def claim(store: Any, source: Any, *, role: str) -> None:
    """Makes a store this job's and says what its data hold, in the terminal and beside the store.

    Every process must call this at the same time.

    Args:
        store: has `claim()`, and `data_table`, the file for what the data hold.
        source: the data.
        role: what they are for.
    """
    from vlp.cli.caches import use_compilation_cache
    from vlp.cli.data_table import say_data
    from vlp.parallel.together import on_first

    use_compilation_cache()
    on_first(store.claim)
    file = None if store.data_table.exists() else store.data_table
    on_first(lambda: say_data({role: source}, file=file))


def place_of(part: PartSource, index: int) -> dict[str, Any]:
    """Where a sample of a part is: its key, its index in the whole, and the file it lies in."""
    from vlp.vectors.shards import utf8

    return {
        "key": utf8(part.key(index)),
        "index": part.first + index,
        "file": utf8(part.file(index)),
    }


def own_share(missing: list[bool]) -> list[int]:
    """The places that this process works on: an even share of what the first one sees missing.

    Every process must call this at the same time.
    """
    import jax
    import numpy as np
    from jax.experimental import multihost_utils

    seen = multihost_utils.broadcast_one_to_all(np.asarray(missing, np.int32))
    return np.flatnonzero(seen)[jax.process_index() :: jax.process_count()].tolist()


def progress_bar() -> Any:
    """A bar that counts, on standard error; the first process of a job shows it."""
    import jax
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TimeRemainingColumn

    columns = (
        "{task.description}", SpinnerColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    )  # fmt: skip
    return Progress(*columns, console=Console(stderr=True), disable=jax.process_index() != 0)


@contextlib.contextmanager
def counting(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Shows a bar; what is given takes the number that is done."""
    with progress_bar() as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=min(done, total))
