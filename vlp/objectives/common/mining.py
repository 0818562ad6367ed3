"""Which pairs of a batch to tell apart: hard negatives that are no true matches."""

import functools
import operator

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from vlp.losses.matching import hard_negatives
from vlp.parallel.mesh import AnyMesh, batch_parts
from vlp.settings import check_choice

# How a negative is chosen among those allowed.
CHOICES = ("sampled", "hardest")
# Among which pairs: all of the batch, or those on the same device, as in the authors' codes.
AMONG = ("batch", "device")


def true_matches(
    text: Int[Array, "n l"], *, ids: Int[Array, "n 2"], weight: Float[Array, " n"]
) -> Bool[Array, "n n"]:
    """Which images and texts of a batch must not be called a mismatch: equal samples or captions.

    What has weight 0 counts as a match with everything, so that nobody gets it as a negative.
    """
    absent = weight <= 0
    return _equal_rows(text) | _equal_rows(ids) | absent[:, None] | absent[None]


def _equal_rows(x: Int[Array, "n k"]) -> Bool[Array, "n n"]:
    columns = [x[:, j] for j in range(x.shape[1])]
    return functools.reduce(operator.and_, (c[:, None] == c[None] for c in columns))


def mine(
    scores: Float[Array, "n n"],
    *,
    matches: Bool[Array, "n n"],
    key: Key[Array, ""],
    choice: str = "sampled",
    floor: float = 0.0,
) -> tuple[Int[Array, " n"], Bool[Array, " n"]]:
    """A hard negative for each row, see `hard_negatives`; True where there is one.

    Args:
        scores: scaled similarities of each row's own thing to all candidates of the batch.
        matches: see `true_matches`.
        key: of this call.
        choice: "sampled" or "hardest".
        floor: as in `hard_negatives`.

    Raises:
        ValueError: when the choice is unknown.
    """
    check_choice("negatives", choice, CHOICES)
    keys = jax.random.split(key, scores.shape[0]) if choice == "sampled" else None
    return hard_negatives(scores, allowed=~matches, keys=keys, floor=floor)


def elsewhere(n: int, mesh: AnyMesh | None) -> Bool[Array, "n n"]:
    """Which rows of a batch lie on other devices than which."""
    device = jnp.arange(n) // (n // batch_parts(mesh))
    return device[:, None] != device[None]
