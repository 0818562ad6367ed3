"""Least squares in closed form, by the rule of big_vision's few-shot evaluation."""

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import solve

from vlp.evals.probes.linear import Linear

BIAS = 100.0  # a constant feature so large that the penalty hardly touches its weights
_LEAST = 1e-5  # added to every standard deviation


def ridge(
    x: Float[np.ndarray, "n d"], labels: Int[np.ndarray, " n"], *, num_classes: int, l2: float
) -> Linear:
    """The classifier of least squared error to 1 for the own class and -1 for the others.

    Features are standardised and get a constant one of 100 beside them; the penalty is `l2` times
    the squared weights. Classes without samples are fitted as well: to -1 everywhere.

    Args:
      x: Features.
      labels: Of each sample.
      num_classes: How many classes there are.
      l2: Weight of the penalty, over 0.

    References:
      big_vision, evaluators/fewshot_lsr.py.
    """
    x = x.astype(np.float64)
    mean, std = x.mean(axis=0), x.std(axis=0) + _LEAST
    rows = np.pad((x - mean) / std, ((0, 0), (0, 1)), constant_values=BIAS)
    wanted = np.full((len(x), num_classes), -1.0)
    wanted[np.arange(len(x)), labels] = 1.0
    n, d = rows.shape
    if n >= d:
        weights = solve(rows.T @ rows + l2 * np.eye(d), rows.T @ wanted, assume_a="pos")
    else:  # the same weights by the smaller system
        weights = rows.T @ solve(rows @ rows.T + l2 * np.eye(n), wanted, assume_a="pos")
    scaled = weights[:-1] / std[:, None]
    return Linear(scaled, BIAS * weights[-1] - mean @ scaled)
