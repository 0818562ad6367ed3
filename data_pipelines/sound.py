"""Sound files to one channel of samples, within limits; what cannot be used is a Reject."""

import io
import math
from fractions import Fraction
from typing import Any

import numpy as np
from jaxtyping import Float

from data_pipelines.faults import Reject
from data_pipelines.kinds import unfetched
from data_pipelines.limits import LIMITS

_RATES = (1_000, 768_000)
_BLOCK = 2**16  # values read at once, of all channels
# Rates in use are exact within it; any other is off by less than can be heard.
_LARGEST_RATIO = 1_000


def soundfile() -> Any:
    """The library that reads sounds.

    Raises:
      ValueError: it is not installed.
    """
    try:
        import soundfile
    except (ImportError, OSError) as error:  # OSError: without its libsndfile
        raise ValueError(f"sounds need soundfile ({error}); pip install 'vlp[audio]'") from error
    return soundfile


def decode_sound(
    data: bytes, *, max_seconds: int = LIMITS.audio_seconds
) -> tuple[Float[np.ndarray, " t"], int]:
    """A sound as float32, usually in -1..1, the mean of its channels; and its rate in hertz.

    Args:
      data: a file that libsndfile reads: WAV, FLAC, Ogg Vorbis and Opus, MP3.
      max_seconds: longest accepted sound; of a longer one no more is decoded.

    Raises:
      Reject: empty, not recognised, damaged or cut off, not finite, or too long.
      ValueError: soundfile is not installed.
    """
    library = soundfile()
    if not data:
        raise Reject("audio empty")
    try:
        file = library.SoundFile(io.BytesIO(data))
    except library.SoundFileError as error:
        raise Reject("audio not recognised", unfetched(data) or str(error)) from error
    with file:
        try:
            wave = _mono(file, max_seconds)
        except library.SoundFileError as error:
            raise Reject("audio damaged", str(error)) from error
        return wave, file.samplerate


def _mono(file: Any, max_seconds: int) -> Float[np.ndarray, " t"]:
    low, high = _RATES
    if not low <= file.samplerate <= high:
        raise Reject("audio damaged", f"{file.samplerate} samples a second, not {low} to {high}")
    blocks, count, most = [], 0, max_seconds * file.samplerate
    rows = max(1, _BLOCK // file.channels)
    while len(block := file.read(rows, dtype="float32", always_2d=True)):
        blocks.append(block.mean(axis=1))
        count += len(block)
        if count > most:
            raise Reject("audio too long", f"more than {max_seconds} seconds")
    if not count:
        raise Reject("audio empty", "no samples")
    if count < file.frames:
        raise Reject("audio damaged", f"cut off after {count} of {file.frames} samples")
    wave = np.concatenate(blocks)
    if not np.isfinite(wave).all():
        raise Reject("audio damaged", "NaN or infinity")
    return wave


def resampled(wave: Float[np.ndarray, " t"], *, rate: float, to: int) -> Float[np.ndarray, " s"]:
    """A sound at another rate, by a polyphase filter.

    Args:
      wave: the samples.
      rate: of these, in hertz.
      to: the other rate.
    """
    from scipy.signal import resample_poly  # takes longer to import than the rest of this package

    ratio = Fraction(to / rate).limit_denominator(_LARGEST_RATIO)
    if ratio == 1 or math.isclose(rate, to):
        return wave
    return resample_poly(wave, ratio.numerator, ratio.denominator).astype(np.float32)
