"""The table of a run's, an evaluation's or a job's data that is printed before it begins."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import jax

from data_pipelines.sources import Source
from data_pipelines.sources.survey import survey
from vlp.evals.results import write_json


def say_data(sources: Mapping[str, Source], *, file: Path | None = None) -> None:
    """Prints, on process 0, what each source holds and what in it is no sample.

    Args:
        sources: by what they are for, such as "training" or the name of an evaluation.
        file: where the same is written as JSON; not written unless given.
    """
    if jax.process_index() != 0:
        return
    found = {role: survey(source) for role, source in sources.items()}
    for role, parts in found.items():
        for part in parts:
            print(f"{role}: {part.name}, {part.samples:,} samples")
    if file is not None:
        write_json(
            file, {role: [part.to_dict() for part in parts] for role, parts in found.items()}
        )
