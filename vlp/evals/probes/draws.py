"""Which samples of a training set a probe learns from."""

import numpy as np
from jaxtyping import Int

Places = Int[np.ndarray, " _"]


def shots_by_class(labels: Int[np.ndarray, " n"], *, seed: int) -> list[Places]:
    """The samples of each class that occurs, shuffled: the first k of each are its k shots.

    With more shots a class keeps those that it had, as in big_vision's few-shot evaluation.

    Args:
      labels: Of each sample.
      seed: Of the draw.
    """
    rng = np.random.default_rng(seed)
    return [rng.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)]


def shots_in_turn(
    labels: Int[np.ndarray, " n"], *, shots: int, draws: int, seed: int
) -> list[Places]:
    """The samples of several draws, so many of each class, as MTEB draws them.

    The order of one draw is that of the draw before, shuffled again by the same seed.

    Args:
      labels: Of each sample.
      shots: Of each class; all of a class that has fewer.
      draws: How many draws.
      seed: Of the shuffles; MTEB's is 42.

    References:
      mteb.abstasks.classification.
    """
    order = list(range(len(labels)))
    found = []
    for _ in range(draws):
        np.random.RandomState(seed).shuffle(order)
        by = labels[order]
        taken = [np.flatnonzero(by == label)[:shots] for label in np.unique(labels)]
        found.append(np.asarray(order)[np.sort(np.concatenate(taken))])
    return found


def held_out(count: int, *, share: float, seed: int) -> tuple[Places, Places]:
    """What remains, and a share for validation, each in the order of the samples.

    Args:
      count: Of the samples.
      share: 0 for none; otherwise one sample at least.
      seed: Of the draw.

    Raises:
      ValueError: The share is not from 0 to below 1, or leaves nothing.
    """
    if not 0 <= share < 1:
        raise ValueError(f"val_share must be at least 0 and below 1, got {share}")
    if not share:
        return np.arange(count), np.arange(0)
    held = max(1, round(share * count))
    if held >= count:
        raise ValueError(
            f"val_share must leave samples to learn from, got {share} of {count:,}; take a smaller "
            "share, or more samples"
        )
    order = np.random.default_rng(seed).permutation(count)
    return np.sort(order[held:]), np.sort(order[:held])
