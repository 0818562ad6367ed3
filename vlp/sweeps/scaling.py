"""Power laws: how an error falls with what a model has seen."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vlp.evals.writing import Number

POINTS = 5  # fewer say nothing of a law of two parameters


@dataclass(frozen=True)
class PowerLaw:
    """error = factor * x ** exponent.

    Attributes:
      factor, exponent: of the law.
      r2: share of the variance of the error's logarithm that it explains.
    """

    factor: float
    exponent: float
    r2: float

    def __call__(self, x: Number) -> float:
        """The error at x."""
        return float(self.factor * x**self.exponent)


def power_law(xs: Sequence[Number], errors: Sequence[Number]) -> PowerLaw | None:
    """The least squares line through the logarithms; None without five points apart, or without
    any error.

    Args:
      xs: positive, such as the samples seen.
      errors: such as 1 - accuracy.

    References:
      Cherti et al., 2023, https://arxiv.org/abs/2212.07143, section 4.
    """
    points = [(x, error) for x, error in zip(xs, errors, strict=True) if x > 0 and error > 0]
    if len({x for x, _ in points}) < POINTS:
        return None
    x, y = np.log(np.asarray(points, np.float64)).T
    exponent, constant = np.polyfit(x, y, 1)
    total = float(((y - y.mean()) ** 2).sum())
    left = float(((y - constant - exponent * x) ** 2).sum())
    return PowerLaw(float(np.exp(constant)), float(exponent), 1 - left / total if total else 1.0)
