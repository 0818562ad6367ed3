"""How fast matrix products of a shape are on GPUs, as XLA's own measurements say."""

import dataclasses
import functools
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vlp.planning.hardware import Chip

_FILE = Path(__file__).with_name("products.json")


@dataclasses.dataclass(frozen=True)
class Product:
    """Matrices multiplied at once, `[batch, m, k] @ [batch, k, n]`.

    Attributes:
        dtype: of the operands, as a key of `Chip.peak`.
        flops: of all.
        batch, m, n, k: sizes.
    """

    dtype: str
    flops: float
    batch: int
    m: int
    n: int
    k: int


def measured_rate(product: Product, chip: Chip) -> float:
    """FLOP/s at which XLA measured products of this shape; 0 for shapes that it did not.

    Between the measured sizes this is XLA's own average, of the corners around a shape by their
    squared distances. Beyond the largest size rates no longer change; smaller sides and larger
    batches, such as those of attention, are none of the table's.

    References:
        xla/service/gpu/model/matmul_interpolator.cc and interpolator.h in
        https://github.com/openxla/xla
    """
    tables = _measured()
    rates = tables["tflops"].get(_architecture(chip), {}).get(product.dtype)
    sides = (product.m, product.n, product.k)
    smallest, largest, batches = tables["sides"][0], tables["sides"][-1], tables["batches"]
    if rates is None or product.batch > batches[-1] or min(sides) < smallest:
        return 0.0
    point = (product.batch, *(min(side, largest) for side in sides))
    total = weights = 0.0
    for corner in itertools.product(
        *(_around(size, known) for size, known in zip(point, _axes(tables), strict=True))
    ):
        apart = sum((size - value) ** 2 for size, (_, value) in zip(point, corner, strict=True))
        b, m, n, k = (place for place, _ in corner)
        total += rates[b][m][n][k] / (apart + 1)
        weights += 1 / (apart + 1)
    return total / weights * 1e12


def _axes(tables: Any) -> Sequence[Sequence[int]]:
    return (tables["batches"], *[tables["sides"]] * 3)


def _around(size: int, known: Sequence[int]) -> list[tuple[int, int]]:
    """The nearest known sizes below and above, with their places; twice the same if it is one."""
    upper = next(place for place, value in enumerate(known) if value >= size)
    lower = upper if known[upper] == size else upper - 1
    return [(place, known[place]) for place in (lower, upper)]


def _architecture(chip: Chip) -> str:
    capability: Any = chip.target.get("capability", (0, 0))
    return f"sm_{capability[0]}0"


@functools.cache
def _measured() -> Any:
    return json.loads(_FILE.read_text(encoding="utf-8"))
