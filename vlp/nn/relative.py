"""Relative positions: what attention knows of how far two tokens are from each other."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

# Of which modality how many tokens are, from the first on.
Kinds = tuple[tuple[str, int], ...]

_BETWEEN = {("text", "image"): 0, ("image", "text"): 1}  # query and key: the row of `pair`


class RelativePositions(nnx.Module):
    """A learned number a head for each distance of two tokens, added to the logits of attention.

    Two patches are some rows and columns apart, two words some places. What is from a class token,
    to it, and from it to itself has a number each, in images and in texts. Words and patches of a
    pair are at no distance: there is one number from all words to all patches, and one back.

    Parameters, with heads as columns and class tokens as the last three rows:
    `image` `[(2 grid - 1)**2 + 3, h]`, row `(r + grid - 1) * (2 grid - 1) + c + grid - 1` for a
    query `r` rows under and `c` columns right of its key; `text` `[2 text_length, h]`, row
    `text_length - 2 + d` for a query `d` places before its key; `pair` `[2, h]`.

    Args:
        num_heads: of the attention.
        grid: patches along each side of an image.
        text_length: the most tokens a text may have.

    Raises:
        ValueError: when there is no room for a word behind a text's class token.

    References:
        Bao et al., 2022 (VLMo), https://arxiv.org/abs/2111.02358, and its released code,
        https://github.com/microsoft/unilm/tree/master/vlmo (`vlmo_module.py`). Followed; the three
        parameters are one there, image, pair and text one below the other, with the heads of all
        blocks as its columns.
    """

    def __init__(self, num_heads: int, *, grid: int, text_length: int):
        if text_length < 2:
            raise ValueError(
                f"relative positions need texts of at least 2 tokens, got {text_length}; "
                "build the model with a larger length"
            )
        self.grid, self.text_length = grid, text_length

        def table(rows: int) -> nnx.Param:
            return nnx.Param(jnp.zeros((rows, num_heads), jnp.float32))

        self.image = table((2 * grid - 1) ** 2 + 3)
        self.text = table(2 * text_length)
        self.pair = table(2)

    def __call__(self, kinds: Kinds) -> Float[Array, "h q s"]:
        """What is added to the logits of these tokens, queries as rows.

        Args:
            kinds: "image" or "text", and how many tokens; the first of each is its class token.

        Raises:
            ValueError: when images have another number of tokens, or texts more than there are.
        """
        rows = [
            jnp.concatenate([self._between(query, key) for key in kinds], axis=2) for query in kinds
        ]
        return jnp.concatenate(rows, axis=1)

    def _between(self, query: tuple[str, int], key: tuple[str, int]) -> Float[Array, "h q s"]:
        if query != key:
            number = self.pair[...][_BETWEEN[query[0], key[0]]]
            return jnp.broadcast_to(number[:, None, None], (len(number), query[1], key[1]))
        return self._of_text(key[1]) if key[0] == "text" else self._of_image(key[1])

    def _of_text(self, count: int) -> Float[Array, "h l l"]:
        if count > self.text_length:
            raise ValueError(
                f"text may have at most {self.text_length} tokens, got {count}; "
                "truncate it or build the model with a larger length"
            )
        distances, of_class = _split(self.text[...])
        # A shorter text has the same distances among its first tokens.
        return _with_class(toeplitz(distances), of_class)[:, :count, :count]

    def _of_image(self, count: int) -> Float[Array, "h t t"]:
        if count != self.grid**2 + 1:
            raise ValueError(
                f"images must have {self.grid} x {self.grid} patches and a class token, got "
                f"{count} tokens; resize them or build the model for their size"
            )
        distances, of_class = _split(self.image[...])
        side = 2 * self.grid - 1
        # Reversed, because here the key is what is subtracted.
        distances = distances[:, ::-1].reshape(-1, side, side)
        columns = toeplitz(distances).transpose(0, 2, 3, 1)
        patches = toeplitz(columns).transpose(0, 3, 1, 4, 2)
        return _with_class(patches.reshape(-1, self.grid**2, self.grid**2), of_class)


def toeplitz(values: Float[Array, "*batch d"]) -> Float[Array, "*batch n n"]:
    """Matrices with `values[n - 1 + k - q]` at row `q` and column `k`, where `d = 2 n - 1`.

    Copies take the place of a look-up, whose gradient would be added up entry by entry.
    """
    *batch, d = values.shape
    n = (d + 1) // 2
    # Cut into rows of d, copies of d + 1 numbers begin one number earlier in each row.
    copies = jnp.tile(jnp.concatenate([values, values[..., :1]], axis=-1), n)
    return copies[..., : n * d].reshape(*batch, n, d)[..., n - 1 :]


def _split(table: Float[Array, "rows h"]) -> tuple[Float[Array, "h d"], Float[Array, "h 3"]]:
    """The distances of tokens, and the numbers of class tokens."""
    heads_first = table.T
    return heads_first[:, :-3], heads_first[:, -3:]


def _with_class(
    distances: Float[Array, "h p p"], of_class: Float[Array, "h 3"]
) -> Float[Array, "h 1+p 1+p"]:
    """Distances with those of the class token in front of both axes."""
    heads, p, _ = distances.shape
    from_class, to_class, itself = (of_class[:, i, None, None] for i in range(3))
    first = jnp.concatenate([itself, jnp.broadcast_to(from_class, (heads, 1, p))], axis=2)
    others = jnp.concatenate([jnp.broadcast_to(to_class, (heads, p, 1)), distances], axis=2)
    return jnp.concatenate([first, others], axis=1)
