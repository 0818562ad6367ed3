"""Linear probes on a few pictures of each class, drawn several times."""

from vlp.evals.features import EMBEDDING
from vlp.evals.probes.draws import shots_in_turn
from vlp.evals.probes.logistic import Logistic
from vlp.sweeps.judged import Judged, View
from vlp.sweeps.tasks.learning import check_least, few_notes, judged, lesson


def linear_probe_shots(
    view: View,
    *,
    feature: str = EMBEDDING,
    shots: int = 8,
    draws: int = 10,
    c: float = 1.0,
    max_iter: int = 100,
    draw_seed: int = 42,
) -> Judged:
    """Logistic regression on a few pictures of each class, drawn several times: the mean.

    Args:
        view: of a set with labels and a training part.
        feature: that it learns from, see `vlp.evals.features`.
        shots: pictures a class.
        draws: how many classifiers.
        c: one over the weight of the penalty.
        max_iter: iterations of L-BFGS at most.
        draw_seed: of the draws; 42 takes the samples that MTEB takes.

    Raises:
        ValueError: see `vlp.sweeps.tasks.learning.lesson`.

    References:
        Muennighoff et al., 2023 (MTEB); mteb.abstasks.classification.
    """
    for name, value in (("shots", shots), ("draws", draws), ("max_iter", max_iter)):
        check_least(name, value, 1)
    if not c > 0:
        raise ValueError(f"c must be over 0, got {c}")
    given = lesson(view, feature)
    labels = given.train.labels
    heads, cut = [], 0
    for rows in shots_in_turn(labels, shots=shots, draws=draws, seed=draw_seed):
        part = given.train.at(rows)
        problem = Logistic(part.x, part.labels, num_classes=given.num_classes)
        (fit,) = problem.fit([c], max_iter=max_iter)
        heads.append(fit.head)
        cut += not fit.converged
    notes = [f"{cut} of {draws} fits ended after {max_iter:,} iterations, not converged"] * bool(
        cut
    )
    return judged(given, heads, notes=[*notes, *few_notes(labels, [shots])])
