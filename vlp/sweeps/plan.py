"""What is to be swept, and how."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from data_pipelines.limits import LIMITS, Limits
from data_pipelines.threads import THREADS
from vlp.evals.measures import DRAWS, TEMPLATE_DRAWS
from vlp.sweeps.entry import Entry
from vlp.sweeps.models import ModelRef
from vlp.sweeps.precision import FP32, stages_of
from vlp.sweeps.sets import PLAIN
from vlp.sweeps.tasks.table import check_task


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is to be swept, and how.

    Attributes:
        models: that are judged.
        entries: sets and tasks.
        out: the folder of the results.
        root: where sets lie; "" for this folder.
        vectors: where embeddings are kept; a folder in `out` unless given.
        rule: how pictures are decoded, "plain" (as the benchmarks' programs) or "upright".
        limit: pictures of a set, drawn by the seed; 0 for all.
        seed: of all draws.
        draws: of the bootstrap over samples; 0 for no intervals.
        template_draws: of that over templates.
        precision: what is computed in what, see `vlp.sweeps.precision`.
        at_once: models in memory at the same time, which share decoding; 0 for as many as there is
            room for.
        threads: batches of pictures that are decoded at the same time.
        limits: how large samples may be.

    Raises:
        ValueError: there is nothing to sweep, or an entry asks for a task that nobody knows.
    """

    models: Sequence[ModelRef]
    entries: Sequence[Entry]
    out: Path
    root: str = ""
    vectors: Path | None = None
    rule: str = PLAIN
    limit: int = 0
    seed: int = 0
    draws: int = DRAWS
    template_draws: int = TEMPLATE_DRAWS
    precision: str = FP32
    at_once: int = 0
    threads: int = THREADS
    limits: Limits = LIMITS

    def __post_init__(self) -> None:
        if not self.models or not self.entries:
            raise ValueError(
                f"a sweep needs models and sets, got {len(self.models)} models and "
                f"{len(self.entries)} sets"
            )
        stages_of(self.precision, "")  # refuses one that nobody knows
        for entry in self.entries:
            for task in {*entry.tasks, *entry.settings}:
                try:
                    check_task(task, entry.settings.get(task, {}))
                except ValueError as error:
                    raise ValueError(f"the set {entry.name}: {error}") from error
