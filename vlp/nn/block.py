"""The pre-norm transformer block."""

from flax import nnx
from jaxtyping import Array, Bool, Float

from vlp.nn.attention import SelfAttention
from vlp.nn.mlp import Mlp
from vlp.nn.norm import LayerNorm


class Block(nnx.Module):
    """Attention and perceptron, each behind a LayerNorm and added to the residual stream.

    The two layers that write to the stream start at `width**-0.5 * (2 depth)**-0.5`, so that the
    stream's variance does not grow with depth.

    References:
        Radford et al., 2021, https://arxiv.org/abs/2103.00020 (and its released code, for the
        initialisation); Xiong et al., 2020, https://arxiv.org/abs/2002.04745 (pre-norm).
    """

    def __init__(
        self,
        width: int,
        *,
        mlp_dim: int,
        num_heads: int,
        depth: int,
        causal: bool = False,
        activation: str = "gelu",
        norm_eps: float = 1e-6,
        attention: str = "einsum",
        dtype: str = "float32",
        rngs: nnx.Rngs,
    ):
        out_std = width**-0.5 * (2 * depth) ** -0.5
        self.norm1 = LayerNorm(width, eps=norm_eps)
        self.attention = SelfAttention(
            width,
            num_heads,
            causal=causal,
            out_std=out_std,
            implementation=attention,
            dtype=dtype,
            rngs=rngs,
        )
        self.norm2 = LayerNorm(width, eps=norm_eps)
        self.mlp = Mlp(
            width, mlp_dim, activation=activation, out_std=out_std, dtype=dtype, rngs=rngs
        )

    def __call__(
        self, x: Float[Array, "n l w"], *, present: Bool[Array, "n l"] | None = None
    ) -> Float[Array, "n l w"]:
        x = x + self.attention(self.norm1(x), present=present)
        return x + self.mlp(self.norm2(x))
