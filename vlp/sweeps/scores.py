"""What a task says, as numbers for a table: values, intervals, chance."""

import numpy as np

from vlp.evals.measures import Interval, intervals, part_intervals
from vlp.sweeps.judged import Judged


def scores_of(
    judged: Judged, *, draws: int, seed: int, template_draws: int = 0
) -> dict[str, dict[str, float | None]]:
    """The metrics of a task with their intervals, as JSON values.

    Args:
        judged: by the task.
        draws: of the bootstrap over samples.
        seed: of all draws.
        template_draws: of the bootstrap over templates, where the task has several.
    """
    templates = _template_intervals(judged, draws=template_draws, seed=seed)
    spread = intervals(judged.measures, samples=judged.samples, draws=draws, seed=seed)
    once = np.ones(judged.samples)
    found: dict[str, dict[str, float | None]] = {}
    for name, measure in judged.measures.items():
        found[name] = {"value": _number(measure.of(once)), "chance": measure.chance}
        if name in spread:
            found[name] |= {"low": spread[name].low, "high": spread[name].high}
        if name in templates:
            low, high = templates[name]
            found[name] |= {"template_low": low, "template_high": high}
        if measure.if_hit is not None:
            found[name]["if_ties_hit"] = _number(measure.if_hit(once))
    return found


def _template_intervals(judged: Judged, *, draws: int, seed: int) -> dict[str, Interval]:
    redrawn = judged.redrawn
    if redrawn is None:
        return {}
    return part_intervals(redrawn.values, parts=redrawn.templates, draws=draws, seed=seed)


def _number(value: float) -> float | None:
    """None for NaN, which is no JSON."""
    return None if np.isnan(value) else float(value)
