"""What a probe learns from and is judged on: features with labels, of the two parts of a set."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from vlp.evals.features import check_feature
from vlp.evals.probes.linear import Linear, classified
from vlp.sweeps.judged import Judged, View
from vlp.sweeps.sets import EvalSet
from vlp.sweeps.tasks.accuracies import accuracies


@dataclasses.dataclass(frozen=True)
class Part:
    """Labelled pictures.

    Attributes:
      x: Features.
      labels: Of each picture.
      ids: Which picture of the set each is.
    """

    x: Float[np.ndarray, "n d"]
    labels: Int[np.ndarray, " n"]
    ids: Int[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.labels)

    def at(self, rows: Int[np.ndarray, " m"]) -> "Part":
        """Some of them."""
        return Part(self.x[rows], self.labels[rows], self.ids[rows])


@dataclasses.dataclass(frozen=True)
class Lesson:
    """What a probe learns from and is judged on.

    Attributes:
      train, test: labelled pictures.
      num_classes: that compete: those named, and those that occur.
      counts: of what there is.
      notes: sentences for a reader of the scores.
    """

    train: Part
    test: Part
    num_classes: int
    counts: dict[str, int]
    notes: list[str]


def lesson(view: View, feature: str) -> Lesson:
    """The labelled pictures of a set and of its training part.

    Pictures without a label are left out, of the training part those whose features are no numbers,
    too. Several vectors a picture are averaged.

    Args:
        view: of a set with one label a picture, and a training part.
        feature: that probes learn from, see `vlp.evals.features`.

    Raises:
        ValueError: the set has no labels, or nothing to learn from; or the model has no such
            feature.
    """
    check_feature(feature)
    found = view.set
    if found.labels is None or found.labels.ndim != 1:
        raise ValueError(f"probes need one label a picture, {found.name} has none")
    if found.train is None:
        raise ValueError(
            f"probes learn from another split, {found.name} has none; name it as `train` in the "
            "suite"
        )
    notes: list[str] = []
    test = _part(view, found, feature, notes)
    train = _part(view, found.train, feature, notes)
    good = np.isfinite(train.x).all(axis=1)
    if not good.all():
        notes.append(f"{(~good).sum():,} training pictures have features that are no numbers")
    train = train.at(np.flatnonzero(good))
    for part, where in ((test, found.name), (train, f"the training part of {found.name}")):
        if not len(part):
            raise ValueError(f"{where} must hold a picture with a label that can be read")
    unseen = ~np.isin(test.labels, train.labels)
    if unseen.any():
        notes.append(
            f"{unseen.sum():,} pictures are of classes that the training part does not have, and "
            "count as wrong"
        )
    k = max(len(found.class_names), int(test.labels.max()) + 1, int(train.labels.max()) + 1)
    counts = {
        "pictures": len(test),
        "classes": k,
        "occurring": len(np.unique(test.labels)),
        "training": len(train),
    }
    own = [note for note in found.train.notes if note not in found.notes]
    notes += [f"training part: {note}" for note in own]
    return Lesson(train, test, k, counts, notes)


def judged(
    given: Lesson, heads: Sequence[Linear], *, held: int = 0, notes: Sequence[str]
) -> Judged:
    """The scores of linear classifiers.

    Args:
        given: what they learnt from and are judged on.
        heads: one, or several drawn by seeds.
        held: pictures that were held out.
        notes: sentences on how they were found.
    """
    test, k = given.test, given.num_classes
    found = [classified(head, test.x, test.labels, num_classes=k) for head in heads]
    measures = accuracies(found, test.labels, num_classes=k)
    counts = given.counts | ({"validation": held} if held else {})
    said = {"label": test.labels, "predicted": found[0].predicted}
    return Judged(measures, len(test), test.ids, said, counts, say([*given.notes, *notes]))


def check_least(name: str, value: int, least: int) -> None:
    """Refuses a setting that is too small.

    Raises:
        ValueError: says how large it must be.
    """
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")


def few_notes(labels: np.ndarray, shots: Sequence[int]) -> list[str]:
    """A sentence for numbers of shots that some classes have not."""
    counts = np.unique(labels, return_counts=True)[1]
    short = {k: int((counts < k).sum()) for k in shots}
    return [
        f"{few:,} of {len(counts):,} classes have fewer than {k} training pictures, and give all"
        for k, few in short.items()
        if few
    ]


def say(notes: Sequence[str]) -> list[str]:
    """Each sentence once."""
    return list(dict.fromkeys(notes))


def _part(view: View, part: EvalSet, feature: str, notes: list[str]) -> Part:
    rows = view.pictures(part, feature=feature)
    labels = part.labels
    if labels is None or labels.ndim != 1:
        raise ValueError(f"probes need one label a picture, {part.name} has none to learn from")
    own = labels[rows.ids]
    there = np.flatnonzero(own >= 0)
    x = np.asarray(rows.vectors)
    if x.ndim == 3:
        notes.append(f"{x.shape[1]} vectors a picture of {part.name} are averaged")
        x = x.mean(axis=1)
    where = "" if part is view.set else "training part: "
    notes += [f"{where}{note}" for note in rows.notes]
    if len(there) < len(own):
        notes.append(f"{where}{len(own) - len(there):,} pictures have no label")
    return Part(x[there], own[there], rows.ids[there])
