"""The styles of drawings, drawn at random, to learn from one of them what holds in others.

The training drawings have soft shading and fixed colours; others have flat colours, thick outlines,
gloss, other proportions. So every property that a drawing style is free to choose can be drawn at
random: proportions (a smooth warp), colours (a smooth random map of the colour space, small enough
that skin tones and flags stay apart), flatness (median filter, posterisation), outlines, shading,
shadow, background.
"""

import dataclasses

import numpy as np

from data_pipelines.augment import check_strengths
from data_pipelines.filters import blur, colour, dilate, edges, grid, median, mix


@dataclasses.dataclass(frozen=True, kw_only=True)
class Styles:
    """Draws each picture in a style of its own; a `data_pipelines.augment.Style`.

    Options that end in `_p` are probabilities; all others are the strength of a change that every
    image gets. A strength or probability of 0 turns the option off; unless it is said, all are off.

    Args:
      warp: displacement of a smooth random warp, as a share of the output's size.
      curve: bend of the tone curve (like gamma, with fixed black and white).
      palette: strength of a smooth random map of the colour space, share of full scale.
      shade: strength of a linear light-dark gradient over the picture.
      gloss_p: a bright spot, as on glossy drawings.
      flat_p: a median filter, which removes small detail and noise.
      posterise_p: rounding of colours to 5-10 values a channel (fewer turn brown skin red).
      edges_p: lines drawn where the brightness jumps.
      outline_p: a dark, white or coloured line around the picture.
      erode_p: thinning of the picture by one pixel.
      shadow_p: a soft drop shadow.
      background_p: a random colour or gradient behind the picture.

    Raises:
      ValueError: for an option outside its range.
    """

    warp: float = 0.0
    curve: float = 0.0
    palette: float = 0.0
    shade: float = 0.0
    gloss_p: float = 0.0
    flat_p: float = 0.0
    posterise_p: float = 0.0
    edges_p: float = 0.0
    outline_p: float = 0.0
    erode_p: float = 0.0
    shadow_p: float = 0.0
    background_p: float = 0.0

    def __post_init__(self) -> None:
        check_strengths(vars(self))

    def displaced(self, u, v, rng, *, strengths):
        """The positions displaced by a few random plane waves."""
        if not self.warp:
            return u, v
        phase, wave = rng.uniform(0, 2 * np.pi, 4), rng.uniform(-3.5, 3.5, (2, 4))
        across = np.exp(1j * (wave[0, :, None] * u[0] + phase[:, None])).astype(np.complex64)
        down = np.exp(1j * wave[1, :, None] * v[:, 0]).astype(np.complex64)
        # The product of both is the wave; its imaginary part is a sine without calling one.
        waves = down.real[:, :, None] * across.imag[:, None] + (
            down.imag[:, :, None] * across.real[:, None]
        )
        u = u + np.float32(self.warp * (1 + strengths[0])) * (waves[0] + waves[1])
        v = v + np.float32(self.warp * (1 + strengths[1])) * (waves[2] + waves[3])
        return u, v

    def drawn(self, rgb, alpha, behind, rng, *, bend):
        """The picture in other colours, other lines and before another background."""
        rgb = self._recolour(rgb, rng, bend=bend)
        rgb, alpha = self._redraw(rgb, alpha, rng)
        return rgb, alpha, self._behind(behind, alpha, rng)

    def _recolour(self, rgb, rng, *, bend):
        """Tone curve and a smooth random map of the colour space."""
        if self.curve:
            rgb = rgb * (1 + np.float32(self.curve * bend) * (1 - rgb))
        if self.palette:
            wave = rng.normal(0, 3, (3, 3)).astype(np.float32)
            phase = rng.uniform(0, 2 * np.pi, (3, 1, 1)).astype(np.float32)
            rgb = rgb + np.float32(self.palette) * np.sin(mix(wave, rgb) + phase)
        return rgb

    def _redraw(self, rgb, alpha, rng):
        """Flat colours, edges, shading, gloss, thinner shapes and outlines."""
        flat, posterise, lines, gloss, erode, outline = rng.random(6)
        u, v = grid(len(alpha))
        if flat < self.flat_p:
            rgb = median(rgb, passes=int(rng.integers(1, 4)))
        if posterise < self.posterise_p:
            steps = np.float32(rng.integers(4, 10))
            rgb = np.rint(rgb * steps) / steps
        if lines < self.edges_p:
            dark = np.float32(rng.uniform(0.3, 1.0)) * edges(rgb, gain=rng.uniform(2, 6))
            rgb = rgb * (1 - dark)
        if self.shade:
            r = rng.uniform(-self.shade, self.shade, 2).astype(np.float32)
            rgb = rgb + (r[0] * u + r[1] * v)
        if gloss < self.gloss_p:
            x, y, width = rng.uniform(-0.6, 0.6), rng.uniform(-0.8, 0.0), rng.uniform(0.1, 0.5)
            spot = np.exp(
                ((u - np.float32(x)) ** 2 + (v - np.float32(y)) ** 2) / np.float32(-width)
            )
            rgb = rgb + np.float32(rng.uniform(0.2, 0.8)) * spot * (1 - rgb)
        if erode < self.erode_p:
            alpha = 1 - dilate(1 - alpha)
        if outline < self.outline_p:
            grown = alpha
            for _ in range(int(rng.integers(1, 4))):
                grown = dilate(grown)
            shown = alpha / np.maximum(grown, 1e-3)
            rgb, alpha = rgb * shown + _line_colour(rng) * (1 - shown), grown
        return rgb, alpha

    def _behind(self, behind, alpha, rng):
        """The background, or another, with the shadow of the picture on it."""
        shadow, other, gradient = rng.random(3)
        size = len(alpha)
        if other < self.background_p:
            behind = colour(rng)
            if gradient < 0.3:
                t = (grid(size)[1] + 1) / 2
                behind = behind * (1 - t) + colour(rng) * t
        if shadow < self.shadow_p:
            down, right = rng.integers(1, max(2, size // 12)), rng.integers(-2, 3)
            dark = blur(np.roll(alpha, (down, right), (0, 1)))
            behind = behind * (1 - np.float32(rng.uniform(0.2, 0.6)) * dark)
        return behind


def _line_colour(rng):
    """Mostly dark, at times white or any colour."""
    kind = rng.random()
    if kind < 0.6:
        return colour(rng) * np.float32(0.25)
    return np.float32(1) if kind < 0.85 else colour(rng)
