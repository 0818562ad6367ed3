"""Seeded training-time image augmentation: one RGBA image and a generator in, one RGB image out.

Most of it is there to learn from one drawing style (soft shading, fixed colours, one pose) what
holds in others: flat colours, thick outlines, gloss, other proportions. So every property that a
drawing style is free to choose can be drawn at random: proportions (affine map and smooth warp),
colours (linear jitter and a smooth random map of the colour space, both small enough that skin
tones and flags stay apart), flatness (median filter, posterisation), outlines, shading, shadow,
background, resolution. Nothing happens unless it is asked for, and mirroring is asked for rarely:
left and right, and flags, are part of what captions say.
"""

import dataclasses
import functools
import math

import numpy as np
from PIL import Image

from data_pipelines.filters import (
    bilinear,
    blur,
    colour_matrix,
    dilate,
    edges,
    median,
    mix,
    premultiplied,
)
from data_pipelines.randaugment import STRONGEST, randaugment

_RANGES = {"scale": 4, "crop": 1}


@dataclasses.dataclass(frozen=True)
class Augment:
    """Augments one image; the result is a function of the image and the generator only.

    Options that end in `_p` are probabilities; all others are the strength of a change that every
    image gets, as the largest deviation to either side. A strength or probability of 0 turns the
    option off; unless it is said, all are off, and the picture is resized and nothing else.

    Args:
      size: height and width of the output, in pixels.
      scale: smallest and largest size of the whole picture (its sides squashed to a square), as a
        share of the output's size.
      shift: displacement, as a share of the output's size.
      crop: for photos, in place of scale and shift: smallest and largest share of the picture's
        area that a square window at a random place shows.
      aspect, shear: relative change of width to height; slant.
      rotate: degrees.
      warp: displacement of a smooth random warp, as a share of the output's size.
      brightness, contrast, saturation: relative changes.
      hue: turns of the hue circle; keep it small where colours carry meaning.
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
      background: colour behind the picture, uint8 RGB.
      background_p: a random colour or gradient behind the picture instead.
      blur_p, noise_p, cutout_p: a blur; noise in each channel; a rectangle blanked.
      flip_p: left and right exchanged.
      randaugment: in the end, count and strength (to 10) of `randaugment.randaugment`.

    Raises:
      ValueError: for an option outside its range.
    """

    size: int
    _: dataclasses.KW_ONLY
    scale: tuple[float, float] = (1.0, 1.0)
    shift: float = 0.0
    crop: tuple[float, float] | None = None
    aspect: float = 0.0
    shear: float = 0.0
    rotate: float = 0.0
    warp: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
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
    background: tuple[int, int, int] = (255, 255, 255)
    background_p: float = 0.0
    blur_p: float = 0.0
    noise_p: float = 0.0
    cutout_p: float = 0.0
    flip_p: float = 0.0
    randaugment: tuple[int, float] | None = None

    def __post_init__(self) -> None:
        if self.size < 8:
            raise ValueError(f"size must be at least 8 pixels, got {self.size}")
        if len(self.background) != 3 or not all(0 <= x <= 255 for x in self.background):
            raise ValueError(f"background must be RGB in 0..255, got {self.background}")
        for name, value in dataclasses.asdict(self).items():
            if name in _RANGES:
                _check_range(name, value)
            elif name == "randaugment":
                _check_randaugment(value)
            elif name.endswith("_p") and not 0 <= value <= 1:
                raise ValueError(f"{name} is a probability and must be in 0..1, got {value}")
            elif name != "background" and not value >= 0:
                raise ValueError(f"{name} must not be negative, got {value}; 0 turns it off")

    def __call__(self, rgba: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Returns uint8 `[size, size, 3]` from uint8 `[h, w, 4]` with straight alpha.

        Raises:
          ValueError: the image has another shape or type.
        """
        if rgba.ndim != 3 or rgba.shape[2] != 4 or rgba.dtype != np.uint8:
            raise ValueError(f"image must be uint8 [h, w, 4], got {rgba.dtype} {list(rgba.shape)}")
        if self.flip_p and rng.random() < self.flip_p:
            rgba = rgba[:, ::-1]
        picture = self._place(rgba, rng)
        rgb, alpha = picture[:3] / np.maximum(picture[3], 1e-3), picture[3]
        rgb = self._recolour(rgb, rng)
        rgb, alpha = self._redraw(rgb, alpha, rng)
        rgb = self._composite(rgb, alpha, rng)
        rgb = self._degrade(rgb, rng)
        out = (np.clip(rgb, 0, 1) * 255 + 0.5).astype(np.uint8)
        out = np.ascontiguousarray(out.transpose(1, 2, 0))
        if self.randaugment is None:
            return out
        count, strength = self.randaugment
        return randaugment(out, rng, count=count, strength=strength)

    def _place(self, rgba, rng):
        """The picture under a random affine map and warp, premultiplied float [4, S, S]."""
        h, w = rgba.shape[:2]
        r = rng.uniform(-1, 1, 8).tolist()
        (width, height), (x0, y0) = self._window(h, w, r, rng)
        factor = int(min(width * w, height * h) / self.size)
        if factor >= 2:  # sampling a large picture at few points would alias
            image = Image.fromarray(rgba).convert("RGBa").reduce(factor).convert("RGBA")
            rgba = np.asarray(image)
            h, w = rgba.shape[:2]
        u, v = self._warped(r[6], r[7], rng)
        angle, stretch = math.radians(self.rotate * r[2]), math.exp(self.aspect * r[1] / 2)
        cos, sin, slant = math.cos(angle), math.sin(angle), self.shear * r[3]
        # Output to source: the inverses of rotation, slant and stretch are as random as these.
        x_of_u, x_of_v = stretch * cos, stretch * (slant * cos - sin)
        y_of_u, y_of_v = sin / stretch, (cos + slant * sin) / stretch
        x = np.float32(x_of_u * width * w / 2) * u + np.float32(x_of_v * width * w / 2) * v
        y = np.float32(y_of_u * height * h / 2) * u + np.float32(y_of_v * height * h / 2) * v
        x += np.float32((x0 + 1) * w / 2 - 0.5)
        y += np.float32((y0 + 1) * h / 2 - 0.5)
        return bilinear(premultiplied(rgba), x, y)

    def _window(self, h, w, r, rng):
        """Size as shares of width and height, and centre in -1..1, of what the output shows."""
        if self.crop is None:
            low, high = self.scale
            share = 1 / (low + (high - low) * (r[0] + 1) / 2)
            return (share, share), (2 * self.shift * r[4], 2 * self.shift * r[5])
        side = math.sqrt(rng.uniform(*self.crop) * h * w)
        width, height = min(1.0, side / w), min(1.0, side / h)
        return (width, height), ((1 - width) * r[4], (1 - height) * r[5])

    def _warped(self, x_strength, y_strength, rng):
        """Grid of output positions in -1..1, displaced by a few random plane waves."""
        u, v = _grid(self.size)
        if not self.warp:
            return u, v
        phase, wave = rng.uniform(0, 2 * np.pi, 4), rng.uniform(-3.5, 3.5, (2, 4))
        across = np.exp(1j * (wave[0, :, None] * u[0] + phase[:, None])).astype(np.complex64)
        down = np.exp(1j * wave[1, :, None] * v[:, 0]).astype(np.complex64)
        # The product of both is the wave; its imaginary part is a sine without calling one.
        waves = down.real[:, :, None] * across.imag[:, None] + (
            down.imag[:, :, None] * across.real[:, None]
        )
        u = u + np.float32(self.warp * (1 + x_strength)) * (waves[0] + waves[1])
        v = v + np.float32(self.warp * (1 + y_strength)) * (waves[2] + waves[3])
        return u, v

    def _recolour(self, rgb, rng):
        """Linear colour jitter, tone curve and a smooth random map of the colour space."""
        r = rng.uniform(-1, 1, 5).tolist()
        contrast = 1 + self.contrast * r[1]
        matrix = colour_matrix(
            gain=(1 + self.brightness * r[0]) * contrast,
            saturation=1 + self.saturation * r[3],
            turn=self.hue * r[2],
        )
        rgb = np.clip(mix(matrix, rgb) + np.float32(0.5 * (1 - contrast)), 0, 1)
        if self.curve:
            rgb = rgb * (1 + np.float32(self.curve * r[4]) * (1 - rgb))
        if self.palette:
            wave = rng.normal(0, 3, (3, 3)).astype(np.float32)
            phase = rng.uniform(0, 2 * np.pi, (3, 1, 1)).astype(np.float32)
            rgb = rgb + np.float32(self.palette) * np.sin(mix(wave, rgb) + phase)
        return rgb

    def _redraw(self, rgb, alpha, rng):
        """Flat colours, edges, shading, gloss, thinner shapes and outlines."""
        flat, posterise, lines, gloss, erode, outline = rng.random(6)
        u, v = _grid(self.size)
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

    def _composite(self, rgb, alpha, rng):
        """The picture over its shadow over the background."""
        shadow, other, gradient = rng.random(3)
        behind = (np.asarray(self.background, np.float32) / 255)[:, None, None]
        if other < self.background_p:
            behind = _colour(rng)
            if gradient < 0.3:
                t = (_grid(self.size)[1] + 1) / 2
                behind = behind * (1 - t) + _colour(rng) * t
        if shadow < self.shadow_p:
            down, right = rng.integers(1, max(2, self.size // 12)), rng.integers(-2, 3)
            dark = blur(np.roll(alpha, (down, right), (0, 1)))
            behind = behind * (1 - np.float32(rng.uniform(0.2, 0.6)) * dark)
        return behind + alpha * (rgb - behind)

    def _degrade(self, rgb, rng):
        """Blur, noise, a blanked rectangle."""
        soft, noise, cutout = rng.random(3)
        if soft < self.blur_p:
            for _ in range(int(rng.integers(1, 4))):
                rgb = blur(rgb)
        if noise < self.noise_p:
            grain = rng.integers(-128, 128, rgb.shape, dtype=np.int8).astype(np.float32)
            rgb = rgb + grain * np.float32(rng.uniform(0.02, 0.12) / 128)
        if cutout < self.cutout_p:
            h, w = rng.integers(self.size // 8, self.size // 3, 2, endpoint=True)
            y, x = rng.integers(0, self.size - h), rng.integers(0, self.size - w)
            rgb = rgb.copy()
            rgb[:, y : y + h, x : x + w] = _colour(rng)
        return rgb


@functools.cache
def _grid(size):
    """Centres of the pixels in -1..1: x and y, float32 [S, S]."""
    centres = ((np.arange(size) + 0.5) * 2 / size - 1).astype(np.float32)
    v, u = np.meshgrid(centres, centres, indexing="ij")
    return u, v


def _colour(rng):
    return rng.random((3, 1, 1), dtype=np.float32)


def _line_colour(rng):
    """Mostly dark, at times white or any colour."""
    kind = rng.random()
    if kind < 0.6:
        return _colour(rng) * np.float32(0.25)
    return np.float32(1) if kind < 0.85 else _colour(rng)


def _check_range(name, value):
    if value is None and name == "crop":
        return
    if len(value) != 2 or not 0 < value[0] <= value[1] <= _RANGES[name]:
        raise ValueError(
            f"{name} must be (low, high) with 0 < low <= high <= {_RANGES[name]}, got {value}"
        )


def _check_randaugment(value):
    if value is None:
        return
    if len(value) != 2 or value[0] < 1 or not 0 <= value[1] <= STRONGEST:
        raise ValueError(
            "randaugment must be (count, strength), at least 1 operation and a strength from 0 "
            f"to {STRONGEST:g}, got {value}; try (2, 7), or None to turn it off"
        )
