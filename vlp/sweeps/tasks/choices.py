"""Questions with a few pictures and texts of their own: pairs, one of many, and some of many."""

from collections.abc import Callable, Mapping

import numpy as np

from vlp.evals.questions import (
    Won,
    both_by_chance,
    each_row,
    jaccard,
    jaccard_by_chance,
    picked,
    rows_by_chance,
    won,
)
from vlp.sweeps.judged import Judged, View
from vlp.sweeps.tasks.questions import Answers, Question, judged, one_asked

SIZES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    **{str(size): lambda given, size=size: given == size for size in (5, 6, 10, 12)},  # type: ignore[misc]
    "5-6": lambda given: given <= 6,
    "10-12": lambda given: given >= 10,
}


def pairs(view: View) -> Judged:
    """The scores of Winoground, with every tie lost, and as CLIP_benchmark counts them.

    `text_score`: each picture of a question is nearer to its text than to the others;
    `image_score`: each text is nearer to its picture; `group_score`: both. What has one candidate
    asks nothing: SugarCrepe and ARO have one picture a question, and so no score of images. Names
    that end on `_argmax` give a tie to what stands first: where the right text does, as in
    SugarCrepe, a model that says the same of all has 1 there.

    Raises:
        ValueError: the set has no questions, or one without a right answer.

    References:
        Thrush et al., 2022 (Winoground), https://arxiv.org/abs/2204.03162;
        clip_benchmark.metrics.image_caption_selection.
    """

    def of(question: Question) -> dict[str, Answers]:
        found, right = question.scores, question.right
        text, image = each_row(found, right), each_row(found.T, right.T)
        both = text & image if text and image else text or image
        named: dict[str, tuple[Won | None, float]] = {
            "text_score": (text, rows_by_chance(right)),
            "image_score": (image, rows_by_chance(right.T)),
            "group_score": (both, both_by_chance(right)),
        }
        return {name: Answers(*one, chance) for name, (one, chance) in named.items() if one}

    return judged(view, of, by_order="argmax")


def candidates(view: View) -> Judged:
    """The share of questions whose right candidate is the nearest, as MMEB has it.

    Of each question one picture, or one text, is asked about, the others are candidates; one that
    is the same as a right one is right, too. `P@1_argmax` gives a tie to the candidate that stands
    first, which in MMEB is the right one.

    Raises:
        ValueError: the set has no questions, or one of several pictures and several texts.

    References:
        Jiang et al., 2024 (VLM2Vec and MMEB), https://arxiv.org/abs/2410.05160.
    """

    def of(question: Question) -> dict[str, Answers]:
        found, right, names = one_asked(question, view)
        alike = np.isin(names, names[right])
        chance = len(set(names[right].tolist())) / len(set(names.tolist()))
        return {"P@1": Answers(*won(found, alike), chance)}

    return judged(view, of, by_order="argmax")


def associations(view: View) -> Judged:
    """How far the nearest candidates are the right ones, as WinoGAViL has it: Jaccard's overlap.

    Of the candidates of a question as many are chosen as are right. Beside the mean over all
    questions stand those of 5, 6, 10 and 12 candidates, of at most 6, and of at least 10, which is
    the one that is published. `jaccard_argsort` gives ties to what stands last.

    Raises:
        ValueError: the set has no questions, or one of several pictures and several texts.

    References:
        Bitton et al., 2022 (WinoGAViL), https://arxiv.org/abs/2207.12576; DataComp's eval_utils.
    """

    def of(question: Question) -> dict[str, Answers]:
        found, right, _ = one_asked(question, view)
        count = int(right.sum())
        lost, hit, last = (jaccard(hits, count) for hits in picked(found, right))
        return {"jaccard": Answers(lost, hit, last, jaccard_by_chance(len(found), count))}

    return judged(view, of, by_order="argsort", sizes=SIZES)
