"""Two models on the same samples: what one has more, and how sure that is."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from vlp.evals.measures import DRAWS, LEVEL
from vlp.sweeps.names import Model, short_names, titled
from vlp.sweeps.protocol import differing
from vlp.sweeps.samples import COUNTED, VALUE, SampleStore
from vlp.sweeps.table import current, main_metric

_HELD = 2**22  # counts at once, 32 MiB
Samples = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Difference:
    """A metric of one model less that of another.

    Attributes:
        first, second: the models, by short names with their steps.
        set, task, metric: what they were compared on.
        main: whether the metric is the one that stands for the set.
        values: of both, on the samples that both have.
        difference: the first one's less the second one's.
        low, high: between which 95 of 100 repetitions with other samples lie.
        p: how often a difference as large would come if there were none.
        wins, losses: samples on which the first is better, or worse.
        samples: that both have.
        unmatched: that one alone has, which are left out.
    """

    first: str
    second: str
    set: str
    task: str
    metric: str
    main: bool
    values: tuple[float, float]
    difference: float
    low: float
    high: float
    p: float
    wins: int
    losses: int
    samples: int
    unmatched: int

    @property
    def sure(self) -> bool:
        """Whether 0 lies outside of the interval."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Comparison:
    """Differences of one model from others.

    Attributes:
        models: names of rows by those of differences.
        differences: what there is.
        notes: sentences on what could not be compared.
    """

    models: dict[str, str]
    differences: list[Difference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


def compare(
    rows: Sequence[Mapping[str, Any]],
    store: SampleStore,
    *,
    first: Model,
    others: Sequence[Model],
    draws: int = DRAWS,
    seed: int = 0,
    main_only: bool = False,
) -> Comparison:
    """Compares a model with others on every set and every metric that is a quotient over samples.

    The samples are drawn with replacement, the same for both models (paired bootstrap); p is the
    share of the draws whose difference lies as far from the one that was found as that from 0.
    It is not corrected for how much is compared.

    Args:
        rows: of a log.
        store: of the same sweep.
        first: the model.
        others: those that it is compared with.
        draws: of the bootstrap.
        seed: of the draws.
        main_only: whether the main metric of each set is enough.

    References:
        Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 16; Koehn, 2004,
        https://aclanthology.org/W04-3250.
    """
    rows = current(rows)
    short = short_names(row["model"] for row in rows)
    called = {model: titled(short[model[0]], model[1]) for model in (first, *others)}
    found = Comparison({called[model]: titled(*model) for model in called})
    for row in (row for row in rows if (row["model"], row["step"]) == first):
        for other in (row for row in rows if (row["model"], row["step"]) in others):
            if (row["set"], row["task"]) == (other["set"], other["task"]):
                names = (called[first], called[other["model"], other["step"]])
                _pair(row, other, names, store, found, draws=draws, seed=seed, main_only=main_only)
    return found


def aligned(first: Samples, second: Samples) -> tuple[np.ndarray, np.ndarray] | None:
    """The rows of both that are the same samples; None where nothing says which are."""
    if "ids" in first and "ids" in second:
        _, ours, theirs = np.intersect1d(first["ids"], second["ids"], return_indices=True)
        return ours, theirs
    sizes = {len(first[name]) for name in first} | {len(second[name]) for name in second}
    if len(sizes) != 1:
        return None
    every = np.arange(sizes.pop())
    return every, every


def shares_of(samples: Samples, metric: str, rows: np.ndarray) -> Float[np.ndarray, "2 n"]:
    """What some samples add to a metric, above and below."""
    return np.stack([samples[VALUE + metric][rows], samples[COUNTED + metric][rows]])


def paired(
    first: Float[np.ndarray, "2 n"],
    second: Float[np.ndarray, "2 n"],
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> dict[str, Any]:
    """The difference of two quotients of sums over the same samples, and its bootstrap.

    Args:
        first: what each sample adds above and below.
        second: the same of the other model.
        draws: of the bootstrap.
        seed: of the draws.

    Returns:
        The fields of a `Difference` from `values` to `losses`.
    """
    both = np.concatenate([first, second]).astype(np.float64)
    values = _quotients(both.sum(axis=1))
    difference = float(values[0] - values[1])
    drawn = _quotients(_sums(both, draws=draws, seed=seed))
    spread = drawn[:, 0] - drawn[:, 1]
    spread = spread[~np.isnan(spread)]
    ends = (50 * (1 - LEVEL), 50 * (1 + LEVEL))
    low, high = map(float, np.percentile(spread, ends)) if len(spread) else (np.nan, np.nan)
    # Differences of equal shares in other orders of summing are no differences.
    as_far = np.abs(spread - difference) >= abs(difference) - 1e-12
    above = first[0] * second[1], second[0] * first[1]
    counted = (first[1] > 0) & (second[1] > 0)
    return {
        "values": (float(values[0]), float(values[1])),
        "difference": difference,
        "low": low,
        "high": high,
        "p": float((1 + as_far.sum()) / (1 + len(spread))),
        "wins": int((counted & (above[0] > above[1])).sum()),
        "losses": int((counted & (above[0] < above[1])).sum()),
    }


def _pair(
    row: Mapping[str, Any],
    other: Mapping[str, Any],
    names: tuple[str, str],
    store: SampleStore,
    found: Comparison,
    *,
    draws: int,
    seed: int,
    main_only: bool,
) -> None:
    where = f"{row['set']}, {row['task']}: {names[0]} and {names[1]}"
    reason = _not_comparable(row, other)
    if reason:
        found.notes.append(f"{where} are not compared: {reason}")
        return
    ours, theirs = store.find(row["key"]), store.find(other["key"])
    rows = aligned(ours, theirs) if ours and theirs else None
    if rows is None or not len(rows[0]):
        found.notes.append(f"{where} are not compared: nothing is kept of samples that both have")
        return
    main = main_metric(row)
    sizes = [len(next(iter(each.values()))) for each in (ours, theirs)]
    common: Any = dict(first=names[0], second=names[1], set=row["set"], task=row["task"])
    common |= dict(samples=len(rows[0]), unmatched=sum(sizes) - 2 * len(rows[0]))
    for metric in row["metrics"]:
        if VALUE + metric in ours.keys() & theirs.keys() and (metric == main or not main_only):
            shares = (shares_of(ours, metric, rows[0]), shares_of(theirs, metric, rows[1]))
            if all(each[1].any() for each in shares):
                result = paired(*shares, draws=draws, seed=seed)
                found.differences.append(
                    Difference(metric=metric, main=metric == main, **common, **result)
                )


def _not_comparable(row: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Why two rows cannot be compared; "" where they can."""
    if "failed" in row or "failed" in other:
        return "one of them failed"
    if row.get("fingerprint") != other.get("fingerprint"):
        return "their data are not the same; sweep both again"
    if row.get("settings") != other.get("settings"):
        return "they were judged with other settings; sweep both again with the same"
    others = differing(each.get("protocol", {}) for each in (row, other))
    if others:
        return (
            "they must be judged by the same protocol, theirs differ in "
            f"{', '.join(others)}; sweep both again with the same"
        )
    return ""


def _sums(shares: Float[np.ndarray, "r n"], *, draws: int, seed: int) -> np.ndarray:
    """The sums over samples drawn again and again, `[draws, r]`.

    Samples of equal shares are one kind, of which are few: how many of each kind are drawn decides.
    """
    kinds, counts = np.unique(shares, axis=1, return_counts=True)
    rng, n = np.random.default_rng(seed), shares.shape[1]
    at_once = max(1, _HELD // len(counts))
    blocks = [min(at_once, draws - first) for first in range(0, draws, at_once)]
    drawn = (rng.multinomial(n, counts / n, size=block) @ kinds.T for block in blocks)
    return np.concatenate(list(drawn))


def _quotients(sums: Float[np.ndarray, "*b 4"]) -> Float[np.ndarray, "*b 2"]:
    below = sums[..., 1::2]
    return np.divide(sums[..., 0::2], below, out=np.full(below.shape, np.nan), where=below > 0)
