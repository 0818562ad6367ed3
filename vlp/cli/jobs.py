"""What the commands share that go through a whole data set: processes, progress, provenance."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from data_pipelines.threads import THREADS


def add_threads_argument(parser: argparse.ArgumentParser) -> None:
    """Adds the flag of everything that decodes pictures in order."""
    parser.add_argument(
        "--threads",
        type=int,
        default=THREADS,
        metavar="N",
        help="batches of pictures that are decoded at the same time (default %(default)s)",
    )


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
    from vlp.interop.formats import RUN, detect
    from vlp.interop.loaded import fingerprint

    kind, path = detect(args.model)
    if kind == RUN:  # this very checkpoint, should the run go on
        path = loaded.folder / "checkpoints" / str(loaded.step)
    return {
        "model": fingerprint(loaded.model),
        "model_source": f"{kind}:{path}",
        "model_settings": {
            "image_size": args.image_size,
            "text_length": args.text_length,
            "tokenizer": args.tokenizer,
        },
        "preprocess": loaded.card["preprocess"],
        "tokenizer": loaded.card["tokenizer"],
        "data": source.fingerprint,
        "data_source": args.data,
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
    on_first(lambda: say_data({role: source}, file=store.data_table))


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
