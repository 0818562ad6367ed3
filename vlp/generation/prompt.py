"""Words that all captions begin with, such as "a picture of", as tokens."""

from collections.abc import Callable

import numpy as np


def prompt_tokens(
    prompt: str, *, tokenize: Callable[[list[str]], np.ndarray], end_id: int
) -> tuple[int, ...]:
    """The tokens of a prompt, for the `prefix` of a way to write captions.

    Args:
        prompt: text; none has no tokens.
        tokenize: texts to rows of ids: a first token, words, the end token, padding.
        end_id: the end token.

    Raises:
        ValueError: the prompt fills the row, so that nothing can be written behind it.
    """
    if not prompt.strip():
        return ()
    row = tokenize([prompt])[0].tolist()
    words = row[1 : row.index(end_id)]
    if len(words) >= len(row) - 2:  # may have been cut
        raise ValueError(
            f"prompt must have fewer than {len(row) - 2} tokens, as many as a caption of this "
            f"model has room for, got {prompt!r}; give a shorter one"
        )
    return tuple(words)
