"""Search: the images nearest to a sentence."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from vlp.evals.embed import Encoder


def search(
    query: str,
    *,
    encoder: Encoder,
    tokenize: Callable[[list[str]], np.ndarray],
    zimg: Float[np.ndarray, "n d"],
    top: int = 10,
) -> tuple[Int[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """Rows of `zimg` nearest to the query, best first, and their cosine similarities.

    Args:
      query: What to look for, in words.
      encoder: Embeds the query.
      tokenize: Strings to int32 `[n,l]`.
      zimg: Unit-norm image embeddings.
      top: How many to return; all there are where there are fewer.

    Raises:
      ValueError: If the query is empty or top is not positive.
    """
    check_query(query, top=top)
    ztxt = encoder.embed_texts([query], tokenize)[0]
    scores = zimg @ ztxt
    best = np.argsort(-scores, kind="stable")[:top]
    return best, scores[best]


def check_query(query: str, *, top: int) -> None:
    """Raises ValueError for an empty query, or a number of results below 1."""
    if not query.strip():
        raise ValueError(f'a search needs words, got {query!r}; try "a red heart"')
    if top < 1:
        raise ValueError(f"top must be at least 1, got {top}; 10 fills a contact sheet")
