"""Scores by group: of the pictures that have a value in some field, and of the worst of them."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int

from vlp.evals.measures import Measure, quotient, worst
from vlp.sweeps.sets import EvalSet


def by_group(
    values: np.ndarray,
    ids: Int[np.ndarray, " n"],
    right: Bool[np.ndarray, " n"],
    *,
    field: str,
    if_hit: Bool[np.ndarray, " n"] | None = None,
    without: Sequence[str] = (),
    chance: float | None = None,
) -> dict[str, Measure]:
    """The share of right samples of each group, by its value, and of the worst, `worst_FIELD`.

    Args:
        values: of all pictures of the set, "" for none.
        ids: the pictures that the samples are.
        right: of each sample.
        field: what the values are of.
        if_hit: `right` with every tie won.
        without: values that are never the worst.
        chance: of a sample.

    Raises:
        ValueError: no sample has a value that can be the worst, or `without` is none of them.
    """
    known, own = {*values.tolist()} - {""}, values[ids]
    unknown = sorted(set(without) - known)
    if unknown:
        raise ValueError(
            f"without must name values of {field}, such as {', '.join(sorted(known)[:5])}, got "
            f"{unknown[0]!r}"
        )
    names = sorted({*own.tolist()} - {""})
    number = {name: i for i, name in enumerate(name for name in names if name not in without)}
    if not number:
        raise ValueError(f"a picture that can be read must have a {field} that is compared")
    scores = {
        name: quotient(
            right & (own == name),
            own == name,
            chance=chance,
            if_hit=None if if_hit is None else if_hit & (own == name),
        )
        for name in names
    }
    group = np.asarray([number.get(value, -1) for value in own.tolist()])
    return scores | {f"worst_{field}": worst(right, group, chance=chance, if_hit=if_hit)}


def group_values(found: EvalSet, field: str) -> np.ndarray:
    """The values of a field, one a picture.

    Raises:
        ValueError: the set has no such field.
    """
    if field not in found.groups:
        known = ", ".join(found.groups) or "none"
        raise ValueError(
            f"group must be a field of the set, {found.name} has {known}, got {field!r}; name it "
            "in `fields` of the suite"
        )
    return np.asarray(found.groups[field])
