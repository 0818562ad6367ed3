"""CLIP's ResNet tower."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from vlp.nn.batch_norm import BatchNorm
from vlp.nn.conv import Conv, average_pool
from vlp.nn.cross_attention import CrossAttention
from vlp.nn.linear import normal_param
from vlp.nn.patches import check_pixels

EXPANSION = 4  # output channels of a block, relative to its 3 x 3 convolution
REDUCTION = 32  # pixels a side of what becomes one token


class ModifiedResNet(nnx.Module):
    """Images through a bottleneck ResNet to one vector each, already in the shared space.

    Three convolutions begin it in place of one, average pooling stands before every stride (in the
    shortcuts too) and in place of max pooling, and attention pooling ends it.

    Args:
        image_size: pixels along each side; must divide by 32.
        layers: bottleneck blocks of each of the four stages (RN50: 3, 4, 6, 3).
        output_dim: width of the pooled vector; the dual encoder's `embed_dim`, whose
            `image_projection` is then "none".
        width: channels after the stem; tokens have 32 times as many.
        num_heads: of the attention pooling; half the `width`, if not given, as published.
        attention: of the attention pooling, see `vlp.nn.attention`.
        dtype: of convolutions and matrix products; parameters and statistics stay float32.

    Raises:
        ValueError: when there are not four stages or sizes do not divide.

    References:
        Radford et al., 2021, https://arxiv.org/abs/2103.00020, section 2.4; He et al., 2019,
        https://arxiv.org/abs/1812.01187 (ResNet-D); Zhang, 2019, https://arxiv.org/abs/1904.11486.
    """

    def __init__(
        self,
        *,
        image_size: int,
        layers: Sequence[int],
        output_dim: int,
        width: int = 64,
        num_heads: int | None = None,
        attention: str = "einsum",
        dtype: str = "float32",
        rngs: nnx.Rngs,
    ):
        _check(image_size, layers, width)
        kinds: dict[str, Any] = dict(dtype=dtype, rngs=rngs)
        self.image_size, self.width, self.dtype = image_size, output_dim, dtype
        self.stem = Stem(width, **kinds)
        stages = [
            _stage(
                width if i == 0 else width * 2 ** (i - 1) * EXPANSION,
                width * 2**i,
                blocks=blocks,
                stride=1 if i == 0 else 2,
                **kinds,
            )
            for i, blocks in enumerate(layers)
        ]
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.head = GridPool(
            width * 8 * EXPANSION,
            num_heads or width // 2,
            num_tokens=(image_size // REDUCTION) ** 2,
            output_dim=output_dim,
            implementation=attention,
            **kinds,
        )

    def __call__(
        self,
        pixels: Float[Array, "n h w 3"],
        *,
        train: bool = False,
        present: Bool[Array, " n"] | None = None,
    ) -> tuple[Float[Array, "n d"], Float[Array, "n t c"]]:
        """The pooled vectors, and the last feature map, row by row.

        Args:
            pixels: normalised pixels.
            train: normalise by the statistics of this batch, and move the running ones.
            present: which examples count in them; all, if not given.

        Raises:
            ValueError: when the image size does not fit.
        """
        last = self.stages(pixels, train=train, present=present)[-1]
        tokens = last.reshape(last.shape[0], -1, last.shape[-1])
        return self.head(tokens), tokens

    def stages(
        self,
        pixels: Float[Array, "n h w 3"],
        *,
        train: bool = False,
        present: Bool[Array, " n"] | None = None,
    ) -> list[Float[Array, "n _ _ _"]]:
        """The feature maps after the stem and after each stage; arguments as in a call."""
        check_pixels(pixels, self.image_size)
        mode: dict[str, Any] = dict(train=train, present=present)
        maps = [self.stem(pixels, **mode)]
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = maps[-1]
            for block in stage:
                x = block(x, **mode)
            maps.append(x)
        return maps

    def hidden_states(self, pixels: Float[Array, "n h w 3"]) -> Float[Array, "states n t w"]:
        """Raises ValueError: the states of a ResNet have several shapes."""
        raise ValueError(
            "hidden states need a transformer, got a ResNet, whose feature maps have several "
            "shapes; use stages"
        )


class Stem(nnx.Module):
    """Three convolutions and an average pool: a quarter of the pixels along each side."""

    def __init__(self, width: int, **kinds: Any):
        self.conv1 = Conv(3, width // 2, size=3, stride=2, **kinds)
        self.norm1 = BatchNorm(width // 2)
        self.conv2 = Conv(width // 2, width // 2, size=3, **kinds)
        self.norm2 = BatchNorm(width // 2)
        self.conv3 = Conv(width // 2, width, size=3, **kinds)
        self.norm3 = BatchNorm(width)

    def __call__(self, x: Float[Array, "n h w 3"], **mode: Any) -> Float[Array, "n h2 w2 c"]:
        x = jax.nn.relu(self.norm1(self.conv1(x), **mode))
        x = jax.nn.relu(self.norm2(self.conv2(x), **mode))
        return average_pool(jax.nn.relu(self.norm3(self.conv3(x), **mode)), 2)


class Bottleneck(nnx.Module):
    """Narrow, convolve, widen; added to a shortcut, of which it is no part at the start.

    References:
        Goyal et al., 2017, https://arxiv.org/abs/1706.02677, section 5.1 (a last scale of zero).
    """

    def __init__(self, in_channels: int, channels: int, *, stride: int, **kinds: Any):
        wide = channels * EXPANSION
        self.stride = stride
        self.conv1 = Conv(in_channels, channels, size=1, **kinds)
        self.norm1 = BatchNorm(channels)
        self.conv2 = Conv(channels, channels, size=3, **kinds)
        self.norm2 = BatchNorm(channels)
        self.conv3 = Conv(channels, wide, size=1, **kinds)
        self.norm3 = BatchNorm(wide, init_scale=0.0)
        needed = stride > 1 or in_channels != wide
        self.downsample = Downsample(in_channels, wide, stride, **kinds) if needed else None

    def __call__(self, x: Float[Array, "n h w c"], **mode: Any) -> Float[Array, "n h2 w2 d"]:
        y = jax.nn.relu(self.norm1(self.conv1(x), **mode))
        y = jax.nn.relu(self.norm2(self.conv2(y), **mode))
        y = self.norm3(self.conv3(average_pool(y, self.stride)), **mode)
        shortcut = x if self.downsample is None else self.downsample(x, **mode)
        return jax.nn.relu(y + shortcut)


class Downsample(nnx.Module):
    """A shortcut between feature maps of different shapes."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, **kinds: Any):
        self.stride = stride
        self.conv = Conv(in_channels, out_channels, size=1, **kinds)
        self.norm = BatchNorm(out_channels)

    def __call__(self, x: Float[Array, "n h w c"], **mode: Any) -> Float[Array, "n h2 w2 d"]:
        return self.norm(self.conv(average_pool(x, self.stride)), **mode)


class GridPool(nnx.Module):
    """The mean of all tokens attends to itself and to them, all with learned positions."""

    def __init__(
        self, width: int, num_heads: int, *, num_tokens: int, output_dim: int, **kinds: Any
    ):
        std = width**-0.5
        self.positions = normal_param(num_tokens + 1, width, std=std, rngs=kinds["rngs"])
        self.attention = CrossAttention(
            width, num_heads, out_width=output_dim, out_std=std, **kinds
        )

    def __call__(self, tokens: Float[Array, "n t c"]) -> Float[Array, "n d"]:
        mean = jnp.mean(tokens, axis=1, keepdims=True)
        x = jnp.concatenate([mean, tokens], axis=1)
        x = x + self.positions[...].astype(x.dtype)[None]
        return self.attention(x[:, :1], x)[:, 0]


def _stage(in_channels: int, channels: int, *, blocks: int, stride: int, **kinds: Any) -> nnx.List:
    first = Bottleneck(in_channels, channels, stride=stride, **kinds)
    wide = channels * EXPANSION
    return nnx.List(
        [first, *(Bottleneck(wide, channels, stride=1, **kinds) for _ in range(1, blocks))]
    )


def _check(image_size: int, layers: Sequence[int], width: int) -> None:
    if image_size % REDUCTION:
        lower = image_size // REDUCTION * REDUCTION
        raise ValueError(
            f"image_size of a ResNet must divide by {REDUCTION}, got {image_size}; "
            f"try {lower or REDUCTION} or {lower + REDUCTION}"
        )
    if len(layers) != 4 or min(layers) < 1:
        raise ValueError(
            f"layers must be four numbers of blocks, at least 1 each, got {list(layers)}; "
            "try [3, 4, 6, 3]"
        )
    if width % 2:
        raise ValueError(f"width of a ResNet must be even, got {width}; try {width + 1}")
