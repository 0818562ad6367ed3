"""The bar that a job shows."""

import contextlib
from collections.abc import Callable, Iterator

import jax
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TimeRemainingColumn


@contextlib.contextmanager
def counting(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Shows a bar on standard error, on process 0; what is given takes the number that is done."""
    columns = (
        "{task.description}", SpinnerColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    )  # fmt: skip
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=jax.process_index() != 0) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=min(done, total))
