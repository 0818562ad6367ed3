"""What a run could not use: judged over all processes, and written down."""

from collections import Counter
from pathlib import Path

import jax

from data_pipelines.faults import summary
from data_pipelines.ledger import Ledger, cut
from data_pipelines.loader import Loader
from vlp.parallel.together import of_all
from vlp.run.workdir import Workdir


def open_ledger(workdir: Workdir, loader: Loader) -> Ledger:
    """The ledger of this process from where its loader stands.

    Earlier starts may have had more processes; what they saw after that is cut as well.
    """
    after = loader.get_state()["samples"]
    count = jax.process_count()
    present = [_of(workdir, process) for process in range(count)]
    if jax.process_index() == 0:
        for file in sorted(workdir.path.glob(f"{workdir.rejects.stem}*.jsonl")):
            if file not in present:
                cut(file, after=after)
    return Ledger(present[jax.process_index()], after=after)


def _of(workdir: Workdir, process: int) -> Path:
    own = f"{workdir.rejects.stem}-{process}"
    return workdir.rejects.with_stem(own) if jax.process_count() > 1 else workdir.rejects


def judge_rejects(loader: Loader) -> tuple[int, Counter[str]]:
    """How many samples all processes have read, and the rejects by reason.

    Raises:
        ValueError: on all processes, when too much of what they saw was bad.
    """
    counts = [(seen, bad) for seen, bad in of_all([loader.seen, loader.rejects])]
    loader.judge(counts)
    return sum(seen for seen, _ in counts), sum((Counter(bad) for _, bad in counts), Counter())


def said(read: int, rejects: Counter[str]) -> str:
    """What became of the samples, as one line."""
    rejected = rejects.total()
    used = f"{read:,} samples read, {read - rejected:,} used, {rejected:,} rejected"
    return f"{used}: {summary(rejects)}" if rejected else used
