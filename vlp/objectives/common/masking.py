"""Hiding words that are to be told again: BERT's masks, drawn anew for every step."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key

# Of the places to be predicted, those that show the mask token, and those that show any token.
_MASKED, _RANDOM = 0.8, 0.1


def mask_tokens(
    text: Int[Array, "n l"],
    *,
    keys: Key[Array, " n"],
    mask_id: int,
    pad_id: int,
    vocab_size: int,
    probability: float = 0.15,
) -> tuple[Int[Array, "n l"], Int[Array, "n l"]]:
    """The texts with some tokens hidden, and these tokens, `pad_id` at all other places.

    Of the chosen places 80 % show the mask, 10 % another token at random and 10 % the token itself.
    The first token (the text's own) and padding are never chosen, the end token may be, as in the
    authors' code of ALBEF. A random token is any but padding, which would hide the place itself
    from attention; the authors draw among all.

    Args:
        text: token ids.
        keys: one a text, so that its masks do not depend on the others.
        mask_id: the mask token.
        pad_id: the padding token.
        vocab_size: random tokens are below it.
        probability: share of the places that are chosen.

    References:
        Devlin et al., 2019 (BERT), https://arxiv.org/abs/1810.04805, section 3.1; Li et al., 2021
        (ALBEF), https://arxiv.org/abs/2107.07651, section 3.2.
    """

    def one(row, key):
        choose, how, which = jax.random.split(key, 3)
        eligible = (row != pad_id).at[0].set(False)
        chosen = eligible & (jax.random.uniform(choose, row.shape) < probability)
        draw = jax.random.uniform(how, row.shape)
        token = jax.random.randint(which, row.shape, 0, vocab_size - 1)
        token = token + (token >= pad_id).astype(token.dtype)
        shown = jnp.where(draw < _MASKED, mask_id, jnp.where(draw < _MASKED + _RANDOM, token, row))
        return jnp.where(chosen, shown, row), jnp.where(chosen, row, pad_id)

    return jax.vmap(one)(text, keys)
