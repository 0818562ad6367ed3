"""Whether a model tells its pairs from the hardest wrong ones."""

from vlp.evals.matching import KINDS, measures
from vlp.jobs.reading import mined_odds
from vlp.sweeps.judged import Judged, View
from vlp.sweeps.tasks.reading import check_model, evaluator_of, gallery_of
from vlp.sweeps.tasks.retrieval import captions_of


def matching(view: View) -> Judged:
    """Accuracy, balanced accuracy and AUC over all pairs and the hardest wrong ones.

    A sample is a pair that is asked about. Log-odds of 0 are never right.

    Raises:
        ValueError: the set has no captions, or only equal ones, or the model cannot match.

    References:
        Li et al., 2021 (ALBEF), https://arxiv.org/abs/2107.07651; see `vlp.evals.matching`.
    """
    check_model(view, "matching")
    rows = view.pictures()
    odds, pairs = mined_odds(evaluator_of(view), gallery_of(view, *captions_of(view, rows)))
    counts = {"pictures": len(rows.ids), "pairs": len(odds)}
    counts |= {name: int((pairs.kind == number).sum()) for number, name in enumerate(KINDS)}
    said = {"picture": rows.ids[pairs.images], "kind": pairs.kind, "log_odds": odds}
    return Judged(measures(odds, pairs.kind), len(odds), None, said, counts, rows.notes)
