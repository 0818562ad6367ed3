"""What a task says, as numbers for a table: values, intervals, chance."""

import numpy as np

from vlp.evals.measures import intervals
from vlp.sweeps.judged import Judged


def scores_of(judged: Judged, *, draws: int, seed: int) -> dict[str, dict[str, float | None]]:
    """The metrics of a task with their intervals, as JSON values."""
    spread = intervals(judged.measures, samples=judged.samples, draws=draws, seed=seed)
    once = np.ones(judged.samples)
    found: dict[str, dict[str, float | None]] = {}
    for name, measure in judged.measures.items():
        found[name] = {"value": _number(measure.of(once)), "chance": measure.chance}
        if name in spread:
            found[name] |= {"low": spread[name].low, "high": spread[name].high}
        if measure.if_hit is not None:
            found[name]["if_ties_hit"] = _number(measure.if_hit(once))
    return found


def _number(value: float) -> float | None:
    """None for NaN, which is no JSON."""
    return None if np.isnan(value) else float(value)
