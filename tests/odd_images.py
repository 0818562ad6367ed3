"""Images that preprocessing is likely to disagree on, as files, and by the documented rules."""

import io

import numpy as np
from PIL import Image

from data_pipelines.decode import decode
from data_pipelines.pixels import flatten

WHITE = (255, 255, 255)


def picture(height: int, width: int, channels: int = 3, *, seed: int = 0) -> np.ndarray:
    """Slopes, edges and noise, uint8 `[height, width, channels]`."""
    random = np.random.default_rng(seed)
    rows = np.arange(height)[:, None, None] / height
    columns = np.arange(width)[None, :, None] / width
    slope = rows * np.linspace(1, 0.2, channels) + columns * np.linspace(0, 0.8, channels)
    checks = ((np.arange(height)[:, None] // 5 + np.arange(width)[None, :] // 7) % 2)[..., None]
    noise = random.integers(-25, 25, (height, width, 1))
    return (slope * 170 + checks * 60 + noise).clip(0, 255).astype(np.uint8)


def saved(image: Image.Image, kind: str = "PNG", **settings) -> bytes:
    """The bytes of a file."""
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def odd_images() -> dict[str, bytes]:
    """Name -> file."""
    rgb = {
        "one pixel": (1, 1),
        "tiny": (3, 5),
        "one row": (1, 333),
        "one column": (217, 1),
        "wide": (37, 130),
        "high": (201, 58),
        "odd": (97, 101),
        "exact": (32, 32),
        "nearly square": (64, 65),
        "large": (700, 523),
    }
    files = {name: saved(Image.fromarray(picture(*shape))) for name, shape in rgb.items()}
    photo = Image.fromarray(picture(90, 140))
    files["jpeg"] = saved(photo, "JPEG", quality=85)
    files["turned jpeg"] = saved(photo, "JPEG", exif=_turned())
    files["cmyk"] = saved(photo.convert("CMYK"), "JPEG")
    files["grey"] = saved(photo.convert("L"))
    files["bits"] = saved(photo.convert("1"))
    files["rgba"] = saved(Image.fromarray(picture(75, 61, 4)))
    files["grey with alpha"] = saved(Image.fromarray(picture(75, 61, 4)).convert("LA"))
    palette = photo.quantize(17)
    files["palette"] = saved(palette)
    files["palette with transparency"] = saved(palette, transparency=3)
    sixteen = picture(80, 60, 1)[..., 0].astype(np.uint16) * 257
    files["sixteen bits"] = saved(Image.fromarray(sixteen))
    return files


def by_the_rules(data: bytes) -> Image.Image:
    """What we document to resize: turned, on white, high bytes, RGB."""
    return Image.fromarray(flatten(decode(data), WHITE))


def as_it_is(data: bytes) -> Image.Image:
    """What a peer opens."""
    return Image.open(io.BytesIO(data))


def _turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif.tobytes()
