"""Training parts of sets whose classes are told apart by their names."""

import dataclasses

import numpy as np

from vlp.sweeps.sets import EvalSet


def same_classes(train: EvalSet, found: EvalSet) -> EvalSet:
    """A training part whose labels are places among the classes of a set, by their names.

    Raises:
        ValueError: two classes have one name.
    """
    if list(train.class_names) == list(found.class_names):
        return train
    for names in (train.class_names, found.class_names):
        if len(set(names)) < len(names):
            twice = next(name for name in names if list(names).count(name) > 1)
            raise ValueError(
                f"{train.name} must name its classes as {found.name} does, and {twice!r} is the "
                "name of two; give `classes` with one name each"
            )
    more = [name for name in train.class_names if name not in set(found.class_names)]
    place = {name: index for index, name in enumerate([*found.class_names, *more])}
    old = np.asarray(train.labels)
    labels = np.asarray([place[name] for name in train.class_names])[old]
    notes = list(train.notes)
    if more:
        notes.append(f"{len(more):,} classes that the set itself has not, such as {more[0]!r}")
    return dataclasses.replace(train, labels=np.where(old < 0, -1, labels), notes=notes)
