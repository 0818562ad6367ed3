"""What tasks of questions share: the scores of each question, and measures in all and by part."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from vlp.evals.measures import Measure, Weights, quotient
from vlp.evals.unit_norm import unit_norm
from vlp.metrics import scores
from vlp.sweeps.judged import Judged, View
from vlp.sweeps.sets import Choices
from vlp.sweeps.vectors import Rows

MEAN = "mean_of_kinds"


class Question(NamedTuple):
    """One of a set's questions.

    Attributes:
        number: where it stands in the set.
        scores: of each picture with each text.
        right: which of them belong together.
        pictures: a number for each picture, with the text beside it, the same for equal ones.
        texts: a number for each text, the same for equal ones.
    """

    number: int
    scores: Float[np.ndarray, "i j"]
    right: Bool[np.ndarray, "i j"]
    pictures: Int[np.ndarray, " i"]
    texts: Int[np.ndarray, " j"]


class Answers(NamedTuple):
    """What became of a question in one respect, in 0..1; see `Won`; and what guessing gives."""

    lost: float
    hit: float
    first: float
    chance: float


_NOT_ASKED = Answers(0.0, 0.0, 0.0, 0.0)


def one_asked(
    question: Question, view: View
) -> tuple[Float[np.ndarray, " c"], Bool[np.ndarray, " c"], Int[np.ndarray, " c"]]:
    """The scores of the candidates, which are right, and what they are, where one thing is asked.

    Raises:
        ValueError: there are several pictures and several texts.
    """
    i, j = question.scores.shape
    if i > 1 and j > 1:
        raise ValueError(
            f"a question with candidates must be of one picture, or of one text, question "
            f"{question.number} of {view.set.name} has {i} pictures and {j} texts; judge it as "
            "pairs"
        )
    names = question.texts if i == 1 else question.pictures
    return question.scores.reshape(-1), question.right.reshape(-1), names


def judged(
    view: View,
    of: Callable[[Question], Mapping[str, Answers]],
    *,
    by_order: str,
    sizes: Mapping[str, Callable[[np.ndarray], np.ndarray]] | None = None,
) -> Judged:
    """The measures of what became of the questions of a set, in all, by kind and by size.

    Args:
        view: of the set.
        of: from a question to what is measured, by name.
        by_order: what ends the names of measures whose ties go by the order of the candidates.
        sizes: which questions belong together by how many candidates they have, by name.

    Raises:
        ValueError: there is no question, or none whose pictures can be read, or one without a
            right answer.
    """
    choices = view.set.choices
    if choices is None or not len(choices):
        raise ValueError(f"{view.set.name} must have questions with candidates, it has none")
    rows = view.pictures()
    asked = list(_asked(view, choices, rows))
    if not asked:
        raise ValueError(f"{view.set.name} must have a question whose pictures can all be read")
    found = [of(question) for question in asked]
    numbers = np.asarray([question.number for question in asked])
    kinds = np.asarray(choices.kinds or [""] * len(choices))[numbers]
    names = sorted({*kinds.tolist()} - {""})
    parts = {"": np.ones(len(asked), bool), **{name: kinds == name for name in names}}
    given = np.asarray([question.scores.size for question in asked])
    parts |= {name: belongs(given) for name, belongs in (sizes or {}).items()}
    measures: dict[str, Measure] = {}
    for name in dict.fromkeys(name for each in found for name in each):
        there = np.asarray([name in each for each in found])
        table = np.asarray([each.get(name, _NOT_ASKED) for each in found]).T
        for part, member in parts.items():
            own = _measures(name, table, member & there, by_order)
            measures |= {f"{part}/{key}" if part else key: each for key, each in own.items()}
    measures |= _means(measures, names)
    left = len(choices) - len(asked)
    counts = {"questions": len(asked), "left_out": left, "pictures": len(rows.ids)}
    said = [f"{left:,} questions have a picture that cannot be read"] if left else []
    notes = [*rows.notes, *said]
    return Judged(measures, len(asked), None, {"question": numbers}, counts, notes)


def _measures(
    name: str, table: Float[np.ndarray, "4 n"], member: Bool[np.ndarray, " n"], by_order: str
) -> dict[str, Measure]:
    """With ties lost and by their order, of some questions; nothing where there are none."""
    if not member.any():
        return {}
    lost, hit, first, chances = np.where(member, table, 0.0)
    chance = float(chances.sum() / member.sum())
    known = None if np.isnan(chance) else chance
    return {
        name: quotient(lost, member, chance=known, if_hit=hit),
        f"{name}_{by_order}": quotient(first, member, chance=known),
    }


def _means(measures: Mapping[str, Measure], kinds: Sequence[str]) -> dict[str, Measure]:
    """The means over kinds of what is measured of each."""
    found: dict[str, Measure] = {}
    for name in [name for name in measures if "/" not in name] if kinds else ():
        own = [measures[f"{kind}/{name}"] for kind in kinds if f"{kind}/{name}" in measures]
        chances = [each.chance for each in own if each.chance is not None]
        best = [each.if_hit for each in own if each.if_hit is not None]
        found[f"{MEAN}/{name}"] = Measure(
            partial(_mean, [each.of for each in own]),
            float(np.mean(chances)) if len(chances) == len(own) else None,
            partial(_mean, best) if best else None,
        )
    return found


def _mean(of: Sequence[Callable[[Weights], float]], w: Weights) -> float:
    found = np.asarray([each(w) for each in of])
    there = ~np.isnan(found)
    return float(found[there].mean()) if there.any() else float("nan")


def _asked(view: View, choices: Choices, rows: Rows) -> Iterator[Question]:
    """The questions all of whose pictures can be read, with their scores."""
    ztxt = view.captions(view.set.texts)
    place: dict[str, int] = {}
    texts = np.asarray([place.setdefault(text, len(place)) for text in view.set.texts])
    row = np.full(len(view.set), -1)
    row[rows.ids] = np.arange(len(rows.ids))
    for number in range(len(choices)):
        pictures, own, right = (
            each[number] for each in (choices.pictures, choices.texts, choices.right)
        )
        shape = (len(pictures), len(own)) if len(own) else (len(pictures) - 1, 1)
        if not right.any() or right.shape != shape:
            raise ValueError(
                f"each question must say which of its pictures and texts belong together, question "
                f"{number} of {view.set.name} has {int(right.sum())} right ones of {right.shape}"
            )
        if (row[pictures] >= 0).all():
            zimg, names = np.asarray(rows.vectors[row[pictures]]), pictures
            if choices.beside:
                beside = choices.beside[number]
                zimg = with_texts(zimg, ztxt, beside)
                names = pictures * (len(texts) + 1) + np.where(beside < 0, 0, texts[beside] + 1)
            if len(own):
                found = scores(zimg, ztxt[own])
            else:  # one picture among others
                found, names = scores(zimg[1:], zimg[:1]), names[1:]
            yield Question(number, view.stages.scored(found), right, names, texts[own])


def with_texts(
    zimg: Float[np.ndarray, "i d"], ztxt: Float[np.ndarray, "m d"], beside: Int[np.ndarray, " i"]
) -> Float[np.ndarray, "i d"]:
    """Pictures with the texts that are shown beside them: unit-norm sums of their embeddings.

    References:
        Wei et al., 2023 (UniIR), https://arxiv.org/abs/2311.17136: CLIP by score fusion.
    """
    return unit_norm(zimg + np.where((beside >= 0)[:, None], ztxt[beside], 0.0).astype(zimg.dtype))
