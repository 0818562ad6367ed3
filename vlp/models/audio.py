"""The audio tower: patches of a spectrogram through a transformer."""

import functools
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from vlp.nn.linear import Linear, normal_param
from vlp.nn.norm import LayerNorm
from vlp.nn.pooling import AttentionPool, mean_pool
from vlp.nn.stack import Stack
from vlp.settings import check_choice, handing_on, settings_for

POOLS = ("cls", "mean", "map")


class SpectrogramTransformer(nnx.Module):
    """Patches of time and frequency through a transformer to one vector a sound.

    Args:
        frames, n_mels: of the spectrogram.
        patch_size: frames and mel bins of a patch.
        stride: frames and mel bins from one patch to the next; those of a patch where nothing is
            said (10 and 10 in AST, whose patches overlap). What is left over at the end is not
            looked at.
        width, depth: sizes.
        pool: "cls" (a learned class token), "mean" or "map" (attention pooling).
        norm_eps, dtype: as in `VisionTransformer`.
        **settings: further keyword arguments of `vlp.nn.stack.Stack`.

    Raises:
        ValueError: when a setting is unknown or a patch does not fit.

    References:
        Gong et al., 2021 (AST), https://arxiv.org/abs/2104.01778; Girdhar et al., 2023 (ImageBind),
        https://arxiv.org/abs/2305.05665, whose audio tower is of this kind.
    """

    @handing_on(Stack, leaving=("causal", "context_width", "norm_order"))
    def __init__(
        self,
        *,
        frames: int,
        n_mels: int,
        patch_size: Sequence[int] = (16, 16),
        stride: Sequence[int] | None = None,
        width: int,
        depth: int,
        pool: str = "cls",
        norm_eps: float = 1e-6,
        dtype: str = "float32",
        rngs: nnx.Rngs,
        **settings: Any,
    ):
        self.patch_size, self.stride = tuple(patch_size), tuple(stride or patch_size)
        check_choice("pool", pool, POOLS)
        if min(*self.patch_size, *self.stride) < 1:
            raise ValueError(
                f"patch_size and stride must be at least 1, got {self.patch_size} and {self.stride}"
            )
        if frames < self.patch_size[0] or n_mels < self.patch_size[1]:
            raise ValueError(
                f"a patch of {self.patch_size} frames and mel bins must fit into {frames} and "
                f"{n_mels}; give a smaller patch_size"
            )
        self.frames, self.n_mels, self.width, self.pool, self.dtype = (
            frames, n_mels, width, pool, dtype
        )  # fmt: skip
        sides = zip((frames, n_mels), self.patch_size, self.stride, strict=True)
        rows, columns = ((size - patch) // step + 1 for size, patch, step in sides)
        table = functools.partial(normal_param, std=width**-0.5, rngs=rngs)
        fan_in = self.patch_size[0] * self.patch_size[1]
        self.patches = Linear(fan_in, width, std=fan_in**-0.5, dtype=dtype, rngs=rngs)
        cls = pool == "cls"
        self.class_token = table(width) if cls else None
        count = rows * columns + cls
        self.positions = table(count, width)
        settings |= dict(norm_eps=norm_eps, dtype=dtype, rngs=rngs)
        self.stack: Any = Stack(width, depth, **settings)
        pooling = settings_for(AttentionPool, settings)
        self.head = AttentionPool(width, **pooling) if pool == "map" else None
        self.norm = LayerNorm(width, eps=norm_eps)

    def __call__(
        self, spectrogram: Float[Array, "n f m"], *, stack: Stack | None = None
    ) -> tuple[Float[Array, "n w"], Float[Array, "n t w"]]:
        """The pooled vectors and the normalised tokens, class token first where there is one.

        Args:
            spectrogram: normalised.
            stack: blocks of another tower in place of its own.
        """
        tokens = self.norm((stack or self.stack)(self.embed(spectrogram)))
        if self.pool == "cls":
            return tokens[:, 0], tokens
        return mean_pool(tokens) if self.head is None else self.head(tokens), tokens

    def hidden_states(self, spectrogram: Float[Array, "n f m"]) -> Float[Array, "states n t w"]:
        """The input of the first block and the output of each, none of them normalised."""
        return self.stack.hidden_states(self.embed(spectrogram))

    def embed(self, spectrogram: Float[Array, "n f m"]) -> Float[Array, "n t w"]:
        """What enters the first block: embedded patches with positions.

        Raises:
            ValueError: when the spectrogram has another size.
        """
        if spectrogram.shape[1:] != (self.frames, self.n_mels):
            raise ValueError(
                f"spectrograms must have {self.frames} frames of {self.n_mels} mel bins, got "
                f"{spectrogram.shape[1]} of {spectrogram.shape[2]}; make them by the same settings"
            )
        x = self.patches(windows(spectrogram, self.patch_size, self.stride)).astype(jnp.float32)
        if self.class_token is not None:
            first = jnp.broadcast_to(self.class_token[...], (len(x), 1, self.width))
            x = jnp.concatenate([first, x], axis=1)
        return (x + self.positions[...][None]).astype(jnp.dtype(self.dtype))


def windows(
    x: Float[Array, "n f m"], size: tuple[int, ...], stride: tuple[int, ...]
) -> Float[Array, "n p c"]:
    """Patches, which may overlap, time step by time step, each flattened as (time, frequency)."""
    rows, columns = (
        [slice(start, start + length) for start in range(0, total - length + 1, step)]
        for total, length, step in zip(x.shape[1:], size, stride, strict=True)
    )
    bands = jnp.stack([x[:, :, column] for column in columns], axis=2)
    patches = jnp.stack([bands[:, row] for row in rows], axis=1)  # [n, rows, time, columns, mels]
    return patches.transpose(0, 1, 3, 2, 4).reshape(len(x), len(rows) * len(columns), -1)
