"""Small sounds made on the spot."""

import io

import numpy as np
import pytest
import scipy.signal

RATE = 16_000


def sine(hertz: float, *, seconds: float = 0.4, rate: int = RATE) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)


def chirp(seed: int, *, seconds: float = 0.4) -> np.ndarray:
    times, low = np.arange(int(seconds * RATE)) / RATE, 200 + 100 * seed
    return 0.5 * scipy.signal.chirp(times, low, seconds, 5 * low)


def sound_file(wave: np.ndarray, *, rate: int = RATE, kind: str = "WAV", **options) -> bytes:
    target = io.BytesIO()
    pytest.importorskip("soundfile").write(target, wave, rate, format=kind, **options)
    return target.getvalue()


def spoken(count: int, *, first: int = 0) -> list[tuple[str, bytes]]:
    """Chirps with captions, by the keys of `data_makers.pairs`."""
    return [
        member
        for i in range(first, first + count)
        for member in (
            (f"{i:04d}.flac", sound_file(chirp(i), kind="FLAC")),
            (f"{i:04d}.txt", b"chirp %d" % i),
        )
    ]
