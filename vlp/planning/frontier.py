"""Plans of many settings beside each other: which ones nothing beats."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from vlp.planning.plan import Plan
from vlp.planning.saying import Run, as_json, days

RESULTS = ("GB a device", "ms", "MFU", "pairs/s", "days", "")


@dataclasses.dataclass(frozen=True)
class Tried:
    """One point of a walk.

    Attributes:
        settings: by axis.
        plan: None where there is none.
        run: the whole, at its batch; None where there is no plan.
        why: there is no plan; empty where there is one.
    """

    settings: Mapping[str, int | str]
    plan: Plan | None = None
    run: Run | None = None
    why: str = ""

    @property
    def fits(self) -> bool:
        """Whether it can run."""
        return self.plan is not None and self.plan.memory.fits and bool(self.plan.estimate)


def best(tried: Sequence[Tried]) -> set[int]:
    """Places of those that fit and that no other beats in memory and pairs a second at once."""
    known = {
        place: (each.plan.memory.total, -each.plan.pairs_per_second)
        for place, each in enumerate(tried)
        if each.plan and each.fits
    }
    return {
        place
        for place, own in known.items()
        if not any(
            other != own and other[0] <= own[0] and other[1] <= own[1] for other in known.values()
        )
    }


def cells(each: Tried) -> list[str]:
    """One for each setting, and one for each of `RESULTS`."""
    chosen = each.settings.values()
    settings = [f"{value:,}" if isinstance(value, int) else value for value in chosen]
    if each.plan is None or each.run is None:
        return [*settings, "", "", "", "", "", each.why]
    memory = f"{each.plan.memory.total / 1e9:,.2f}"
    if not each.plan.estimate:
        return [*settings, memory, "", "", "", "", "does not fit"]
    return [
        *settings,
        memory,
        f"{each.plan.estimate.seconds * 1e3:,.1f}",
        f"{each.plan.mfu:.1%}",
        f"{each.plan.pairs_per_second:,.0f}",
        f"{days(each.plan, each.run):,.2f}",
        "" if each.fits else "does not fit",
    ]


def as_rows(tried: Sequence[Tried]) -> list[dict[str, Any]]:
    """All figures of all points, for JSON."""
    frontier = best(tried)
    rows: list[dict[str, Any]] = []
    for place, each in enumerate(tried):
        row: dict[str, Any] = {"settings": dict(each.settings), "best": place in frontier}
        if each.plan is None or each.run is None:
            row["why"] = each.why
        else:
            row["plan"] = as_json(each.plan, each.run)
        rows.append(row)
    return rows
