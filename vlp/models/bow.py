"""The bag-of-words text tower."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from vlp.nn.linear import normal_param
from vlp.nn.norm import LayerNorm
from vlp.nn.pooling import mean_pool
from vlp.nn.positions import check_length


class BagOfWords(nnx.Module):
    """The mean of the embeddings of a caption's tokens, whatever their order, then a LayerNorm.

    CLIP's pseudo-code (figure 3) names "CBOW or Text Transformer" as its text encoder, and no code
    of the former was released. Here it is the mean of word vectors as in CBOW, over all tokens that
    are not padding; the LayerNorm, which CLIP's transformer ends with too, is our choice. The
    projection is that of the dual encoder.

    Args:
        length: the most tokens a caption may have, which is for the tokenizer: there are no
            positions.
        dtype: of the tokens; parameters stay float32.

    References:
        Mikolov et al., 2013, https://arxiv.org/abs/1301.3781; Radford et al., 2021,
        https://arxiv.org/abs/2103.00020.
    """

    def __init__(
        self,
        *,
        vocab_size: int,
        length: int,
        width: int,
        pad_id: int = 0,
        norm_eps: float = 1e-6,
        dtype: str = "float32",
        rngs: nnx.Rngs,
    ):
        self.vocab_size, self.length, self.width = vocab_size, length, width
        self.pad_id, self.dtype = pad_id, dtype
        self.tokens = normal_param(vocab_size, width, std=0.02, rngs=rngs)
        self.norm = LayerNorm(width, eps=norm_eps)

    def __call__(
        self, text: Int[Array, "n l"]
    ) -> tuple[Float[Array, "n w"], Float[Array, "n l w"]]:
        """The pooled vectors and the embedded tokens; a caption of padding alone has mean zero.

        Raises:
            ValueError: when the text is longer than `length`.
        """
        tokens = self.embed(text)
        return self.norm(mean_pool(tokens, mask=text != self.pad_id)), tokens

    def hidden_states(self, text: Int[Array, "n l"]) -> Float[Array, "states n l w"]:
        """The embedded tokens, the only state: there are no blocks."""
        return self.embed(text)[None]

    def embed(self, text: Int[Array, "n l"]) -> Float[Array, "n l w"]:
        """The vectors of the tokens."""
        check_length(text, self.length)
        return self.tokens[...][text].astype(jnp.dtype(self.dtype))
