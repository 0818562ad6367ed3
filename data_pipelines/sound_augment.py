"""Augmentation of sounds: another place in time, another voice, pieces hidden."""

import dataclasses

import numpy as np
from jaxtyping import Float

from data_pipelines.audio import Spectrogram
from data_pipelines.augment import check_strengths
from data_pipelines.sound import resampled


@dataclasses.dataclass(frozen=True, kw_only=True)
class SoundAugment:
    """A function of a sound and a generator; all is off unless it is said.

    Args:
      shift: how far from the beginning a sound may be put, as a share of the room that it leaves;
        of one that does not fit, how much of what is cut off may be cut from its beginning.
      gain: louder or softer, the largest change in decibels.
      speed: of pitch and duration together, the largest relative change, as of a tape.
      tempo: of the duration alone, likewise.
      time_masks: how many stretches of frames are hidden, and of how many frames at most.
      mel_masks: likewise of bands.

    Raises:
      ValueError: for an option outside its range.

    References:
      Park et al., 2019 (SpecAugment), https://arxiv.org/abs/1904.08779; Ko et al., 2015 (speed),
      https://www.danielpovey.com/files/2015_interspeech_augmentation.pdf.
    """

    shift: float = 0.0
    gain: float = 0.0
    speed: float = 0.0
    tempo: float = 0.0
    time_masks: tuple[int, int] = (0, 0)
    mel_masks: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        check_strengths(dict(gain=self.gain))
        for name in ("shift", "speed", "tempo"):
            value, most = getattr(self, name), 1 if name == "shift" else 0.9
            if not 0 <= value <= most:
                raise ValueError(f"{name} must be from 0 to {most}, got {value}; 0 turns it off")
        for name in ("time_masks", "mel_masks"):
            if len(getattr(self, name)) != 2 or min(getattr(self, name)) < 0:
                raise ValueError(
                    f"{name} must be (how many, how wide at most), got {getattr(self, name)}; "
                    "(0, 0) turns them off"
                )

    def __call__(
        self,
        wave: Float[np.ndarray, " t"],
        rng: np.random.Generator,
        *,
        rate: int,
        spectrogram: Spectrogram,
    ) -> Float[np.ndarray, "frames n_mels"]:
        """The spectrogram of a sound, changed.

        Args:
          wave: the samples.
          rng: decides about it.
          rate: of the samples, in hertz.
          spectrogram: what it is to be.
        """
        speed, tempo, gain = rng.uniform(-1, 1, 3) * (self.speed, self.tempo, self.gain)
        place, *masks = rng.random(1 + 2 * (self.time_masks[0] + self.mel_masks[0]))
        wave = resampled(wave, rate=rate * (1 + speed), to=spectrogram.sample_rate)
        energies = spectrogram.energies(wave * np.float32(10 ** (gain / 20)), tempo=1 + tempo)
        free = spectrogram.frames - len(energies)
        shown = spectrogram.fitted(energies, first=round(self.shift * place * free))
        spans = iter(zip(masks[::2], masks[1::2], strict=True))
        for rows, (count, widest) in ((shown, self.time_masks), (shown.T, self.mel_masks)):
            for _, (start, width) in zip(range(count), spans, strict=False):
                size = round(min(widest, len(rows)) * width)
                first = round(start * (len(rows) - size))
                rows[first : first + size] = 0.0  # the mean, once normalised
        return shown
