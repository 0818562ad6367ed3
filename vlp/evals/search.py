"""Search: the images nearest to a sentence."""

import numpy as np
from jaxtyping import Float, Int

from vlp.metrics import scores


def nearest(
    zimg: Float[np.ndarray, "n *q d"], ztxt: Float[np.ndarray, " d"], *, top: int = 10
) -> tuple[Int[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """Rows of `zimg` nearest to a sentence, best first, and their cosine similarities.

    Args:
      zimg: Unit-norm image embeddings.
      ztxt: The unit-norm embedding of the sentence.
      top: How many to return; all there are where there are fewer.
    """
    with np.errstate(invalid="ignore"):  # products may raise it for lanes that they do not use
        found = scores(zimg, ztxt)
    best = np.argsort(-found, kind="stable")[:top]
    return best, found[best]


def check_query(query: str, *, top: int) -> None:
    """Raises ValueError for an empty query, or a number of results below 1."""
    if not query.strip():
        raise ValueError(f'a search needs words, got {query!r}; try "a red heart"')
    if top < 1:
        raise ValueError(f"top must be at least 1, got {top}; 10 fills a contact sheet")
