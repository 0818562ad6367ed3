"""Linear probes by logistic regression, whose penalty is chosen on a held-out part."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from vlp.evals.features import POOLED
from vlp.evals.probes.draws import held_out
from vlp.evals.probes.linear import accuracy
from vlp.evals.probes.logistic import Fit, Logistic
from vlp.evals.probes.search import peak
from vlp.settings import check_choice
from vlp.sweeps.judged import Judged, View
from vlp.sweeps.tasks.learning import Part, judged, lesson

MAX_ITER = 1000


class Chosen(NamedTuple):
    """A weight of the penalty that a validation part chose.

    Attributes:
      c: One over that weight, as scikit-learn's C.
      tried: How many there were to try.
      cut: How many of these ended with their iterations.
    """

    c: float
    tried: int
    cut: int


def linear_probe(
    view: View, *, method: str = "clip", feature: str = POOLED, val_share: float = 0.1
) -> Judged:
    """Logistic regression on features; its penalty is chosen on a part that is held out.

    The classifier that is judged learns from all training pictures, those held out included.

    Args:
        view: of a set with labels and a training part.
        method: "clip": float32, the penalty from 1e-6 to 1e6 in 8 steps a decade, searched from
            coarse to fine; "dinov3": float64, C = 10^-6 to 10^5 in 45 steps, all of them.
        feature: that it learns from, see `vlp.evals.features`.
        val_share: of the training pictures that is held out, drawn by the seed.

    Raises:
        ValueError: see `vlp.sweeps.tasks.learning.lesson`.

    References:
        Radford et al., 2021, section A.3; Siméoni et al., 2025 (DINOv3), eval/log_regression.py.
    """
    check_choice("method", method, _METHODS)
    dtype, tolerance, choose = _METHODS[method]
    given = lesson(view, feature)
    kept, held = held_out(len(given.train), share=val_share, seed=view.seed)
    if not len(held):
        raise ValueError(f"val_share must be over 0 to choose a penalty by, got {val_share}")
    common: dict[str, Any] = dict(num_classes=given.num_classes, dtype=dtype)
    part = given.train.at(kept)
    chosen = choose(Logistic(part.x, part.labels, **common), given.train.at(held), tolerance)
    whole = Logistic(given.train.x, given.train.labels, **common)
    (fit,) = whole.fit([chosen.c], max_iter=MAX_ITER, tolerance=tolerance)
    notes = [
        f"C = {chosen.c:.4g} chosen among {chosen.tried} on {len(held):,} held-out training "
        f"pictures (seed {view.seed})"
    ]
    if chosen.cut or not fit.converged:
        last = "" if fit.converged else ", the last one among them"
        notes.append(
            f"{chosen.cut + (not fit.converged)} of {chosen.tried + 1} fits ended after "
            f"{MAX_ITER:,} iterations, not converged{last}"
        )
    return judged(given, [fit.head], held=len(held), notes=notes)


def _clip(problem: Logistic, val: Part, tolerance: float) -> Chosen:
    """From coarse to fine."""
    grid = 1 / np.logspace(-6, 6, 97)
    fits: dict[int, Fit] = {}

    def score(places: Sequence[int]) -> dict[int, float]:
        cs = [float(grid[place]) for place in places]
        found = problem.fit(cs, max_iter=MAX_ITER, tolerance=tolerance)
        fits.update(zip(places, found, strict=True))
        return {place: accuracy(fits[place].head, val.x, val.labels) for place in places}

    best = peak(len(grid), score)
    cut = sum(not fit.converged for fit in fits.values())
    return Chosen(float(grid[best]), len(fits), cut)


def _dinov3(problem: Logistic, val: Part, tolerance: float) -> Chosen:
    """All of a grid."""
    grid = (10 ** np.linspace(-6, 5, 45)).tolist()
    fits = problem.fit(grid, max_iter=MAX_ITER, tolerance=tolerance)
    scores = [accuracy(fit.head, val.x, val.labels) for fit in fits]
    return Chosen(grid[int(np.argmax(scores))], len(grid), sum(not fit.converged for fit in fits))


# Precision, tolerance of the gradient (scikit-learn's `tol`), and how the penalty is chosen.
_METHODS: dict[str, tuple[str, float, Callable[[Logistic, Part, float], Chosen]]] = {
    "clip": ("float32", 1e-4, _clip),
    "dinov3": ("float64", 1e-12, _dinov3),
}
