"""Convolutions and average pooling of images, channels last."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from vlp.nn.linear import check_dtype


class Conv(nnx.Module):
    """A convolution without bias, zero-padded so that stride 1 keeps the size.

    `kernel` is `[size, size, in, out]`, float32; the products are taken in `dtype`.

    Args:
        in_channels, out_channels: numbers of channels.
        size: of the kernel, odd.
        stride: between outputs.

    Raises:
        ValueError: when the size is even or the dtype is unknown.

    References:
        He et al., 2015, https://arxiv.org/abs/1502.01852 (initialisation).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        size: int,
        stride: int = 1,
        dtype: str = "float32",
        rngs: nnx.Rngs,
    ):
        if size % 2 == 0:
            raise ValueError(f"the size of a kernel must be odd, got {size}; try {size + 1}")
        check_dtype(dtype)
        init = nnx.initializers.he_normal()
        shape = (size, size, in_channels, out_channels)
        self.kernel = nnx.Param(init(rngs.params(), shape, jnp.float32))
        self.size, self.stride, self.dtype = size, stride, dtype

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 d"]:
        dtype = jnp.dtype(self.dtype)
        margin = (self.size // 2, self.size // 2)
        return jax.lax.conv_general_dilated(
            x.astype(dtype),
            self.kernel[...].astype(dtype),
            window_strides=(self.stride, self.stride),
            padding=(margin, margin),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )


def average_pool(x: Float[Array, "n h w c"], size: int) -> Float[Array, "n h2 w2 c"]:
    """The mean of each square of `size` by `size` pixels; `size` divides height and width."""
    if size == 1:
        return x
    n, h, w, c = x.shape
    return jnp.mean(x.reshape(n, h // size, size, w // size, size, c), axis=(2, 4))
