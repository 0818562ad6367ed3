"""Sounds to what an audio tower takes: log-mel spectrograms. Nothing random."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from data_pipelines.checks import check_choice, check_whole
from data_pipelines.limits import LIMITS
from data_pipelines.sound import decode_sound, resampled

_FLOOR = float(np.finfo(np.float32).eps)  # energies below it are it, as Kaldi has them


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spectrogram:
    """Log energies of mel bands over time, float32 `[frames, n_mels]`: Kaldi's filter banks.

    Each frame loses its mean, is pre-emphasised and windowed (Hann, both ends 0); the energies of
    its Fourier transform are summed by triangles in mel and their logarithm (nats) normalised.
    Sounds that last longer than the frames lose their end; behind shorter ones stand zeros, as AST
    has them, before they are normalised. The defaults are those of AST and, but for `frames`, of
    ImageBind.

    Args:
      frames: rows of the output; a hundred a second by default.
      sample_rate: that sounds are brought to, in hertz.
      window: samples a frame, 25 ms by default.
      hop: samples from one frame to the next, 10 ms by default.
      n_fft: length of the Fourier transform, of the frame and zeros behind it.
      n_mels: bands.
      low: where the lowest begins, in hertz; the highest ends at half the rate.
      preemphasis: how much of the sample before is subtracted from each.
      mean, std: of the logarithms, over the data; 0 and 1 to leave them as they are.

    Raises:
      ValueError: a value out of its range.

    References:
      Gong et al., 2021 (AST), https://arxiv.org/abs/2104.01778, section 2.1, whose code divides by
      twice AudioSet's deviation of 4.5689974; Girdhar et al., 2023 (ImageBind),
      https://arxiv.org/abs/2305.05665; https://kaldi-asr.org/doc/feat.html.
    """

    kind: ClassVar[str] = "log_mel"
    frames: int = 1024
    sample_rate: int = 16_000
    window: int = 400
    hop: int = 160
    n_fft: int = 512
    n_mels: int = 128
    low: float = 20.0
    preemphasis: float = 0.97
    mean: float = -4.2677393
    std: float = 9.1379948

    def __post_init__(self) -> None:
        for name in ("frames", "sample_rate", "window", "hop", "n_fft", "n_mels"):
            check_whole(name, getattr(self, name))
        if self.window > self.n_fft or self.window < 2:
            raise ValueError(
                f"window must be from 2 to n_fft {self.n_fft} samples, got {self.window}; raise "
                "n_fft"
            )
        if not 0 <= self.low < self.sample_rate / 2 or not 0 <= self.preemphasis <= 1:
            raise ValueError(
                "low must be under half the rate and preemphasis from 0 to 1, got "
                f"{self.low} and {self.preemphasis}"
            )
        if not self.std > 0:
            raise ValueError(
                f"std must be above 0, got {self.std}; 1 leaves the energies as they are"
            )

    def __call__(
        self, sound: bytes, *, max_seconds: int = LIMITS.audio_seconds
    ) -> Float[np.ndarray, "1 frames n_mels"]:
        """The spectrogram of a sound file, with the leading axis of a batch.

        Args:
          sound: the file's content; see `data_pipelines.sound.decode_sound`.
          max_seconds: longest accepted sound.

        Raises:
          Reject: it cannot be used.
        """
        wave, rate = decode_sound(sound, max_seconds=max_seconds)
        wave = resampled(wave, rate=rate, to=self.sample_rate)
        return self.fitted(self.energies(wave))[None]

    def energies(
        self, wave: Float[np.ndarray, " t"], *, tempo: float = 1.0
    ) -> Float[np.ndarray, "f n_mels"]:
        """The logarithms of all frames of a sound, not normalised, float64.

        Args:
          wave: at `sample_rate`; what is shorter than a frame is one, with zeros behind.
          tempo: how much faster it goes by, its pitch unchanged: frames lie further apart.
        """
        wave = np.pad(wave.astype(np.float64), (0, max(0, self.window - len(wave))))
        hop = self.hop * tempo
        count = 1 + int((len(wave) - self.window) / hop)
        starts = (np.arange(count) * hop).astype(np.int64)
        frames = wave[starts[:, None] + np.arange(self.window)]
        frames -= frames.mean(axis=1, keepdims=True)
        before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
        frames = (frames - self.preemphasis * before) * np.hanning(self.window)
        power = np.abs(np.fft.rfft(frames, self.n_fft)) ** 2
        return np.log(np.maximum((self._filters @ power.T).T, _FLOOR))

    def fitted(
        self, energies: Float[np.ndarray, "f n_mels"], *, first: int = 0
    ) -> Float[np.ndarray, "frames n_mels"]:
        """The frames of the output, normalised, float32.

        Args:
          energies: of `energies`.
          first: where in the output the sound begins; below 0, so much of it is cut off.
        """
        whole = np.zeros((self.frames, self.n_mels))
        shown = energies[max(0, -first) :][: self.frames - max(0, first)]
        whole[max(0, first) :][: len(shown)] = shown
        return ((whole - self.mean) / self.std).astype(np.float32)

    def to_dict(self) -> dict[str, Any]:
        """The constructor's arguments, for a card."""
        return {"kind": self.kind, **dataclasses.asdict(self)}

    @functools.cached_property
    def _filters(self) -> Any:
        """Triangles of height 1 in mel, each from the middle of one neighbour to the other's.

        Sparse: a product of whole matrices takes fifty times as long, on cores that are not ours.
        """
        from scipy.sparse import csr_array  # takes longer to import than the rest of this package

        edges = np.linspace(_mel(self.low), _mel(self.sample_rate / 2), self.n_mels + 2)
        bins = _mel(np.arange(self.n_fft // 2 + 1) * self.sample_rate / self.n_fft)[:, None]
        left, middle, right = edges[:-2], edges[1:-1], edges[2:]
        rise, fall = (bins - left) / (middle - left), (right - bins) / (right - middle)
        return csr_array(np.maximum(0.0, np.minimum(rise, fall)).T)


def open_spectrogram(values: Mapping[str, Any]) -> Spectrogram:
    """The preprocessing of sounds that a card describes.

    Raises:
      ValueError: an unknown kind, or values that are not its own.
    """
    settings = dict(values)
    check_choice("audio.kind", settings.pop("kind", Spectrogram.kind), (Spectrogram.kind,))
    try:
        return Spectrogram(**settings)
    except TypeError as error:
        raise ValueError(
            f"the preprocessing of sounds must have its own settings, got {sorted(values)} "
            f"({error}); update vlp if a newer one wrote this card"
        ) from error


def _mel(hertz: Any) -> Any:
    return 1127.0 * np.log(1.0 + hertz / 700.0)
