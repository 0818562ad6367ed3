"""What `vlp data` shows while it works: a bar on a terminal, elsewhere a line now and then."""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from data_pipelines.sources.tar_build import Built

LOOK_S = 0.5  # between two looks at what is done
LINE_S = 30.0  # between two lines


def indexed(tars: Sequence[str | Path], *, processes: int | None = None) -> "list[Built]":
    """Makes or completes the indexes of some tars, and shows how far that is.

    Args:
        tars: by paths or addresses.
        processes: that scan; as many as there are cores unless given.
    """
    from data_pipelines.sources import build_indexes

    count = [0]

    def done(_: object) -> None:
        count[0] += 1

    with showing("indexing", what="tars", total=len(tars), done=lambda: count[0]):
        return build_indexes(tars, processes=processes, done=done)


def parts_in(folder: Path) -> int:
    """How many whole files or folders there are in a folder, which need not be there yet."""
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        return sum(not entry.name.startswith(".") for entry in entries)
    return 0


@contextlib.contextmanager
def showing(
    doing: str, *, total: int = 0, what: str = "parts", done: Callable[[], int] = lambda: 0
) -> Iterator[None]:
    """Shows on standard error how much is done, while the block does it.

    Args:
        doing: a word for it.
        total: how much it is; 0 where that cannot be counted.
        what: is counted.
        done: says how much there is now.
    """
    over = threading.Event()
    show = _bar if sys.stderr.isatty() else _lines
    how = dict(total=total, what=what, done=done, over=over)
    thread = threading.Thread(target=show, args=(doing,), kwargs=how, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _bar(
    doing: str, *, total: int, what: str, done: Callable[[], int], over: threading.Event
) -> None:
    from rich import progress
    from rich.console import Console

    counted: tuple[progress.ProgressColumn, ...] = (
        progress.MofNCompleteColumn(),
        progress.TextColumn(what),
        progress.TimeRemainingColumn(),
    )
    columns = (
        progress.SpinnerColumn(),
        progress.TextColumn(doing),
        *(counted if total else ()),
        progress.TimeElapsedColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total or None)
        while not over.wait(LOOK_S):
            bar.update(task, completed=done())


def _lines(
    doing: str, *, total: int, what: str, done: Callable[[], int], over: threading.Event
) -> None:
    began = said = time.monotonic()
    while not over.wait(LOOK_S):
        now = time.monotonic()
        if now - said >= LINE_S:
            said = now
            counted = f"{done():,} of {total:,} {what}, " if total else ""
            print(f"{doing}: {counted}{now - began:.0f} s", file=sys.stderr, flush=True)
