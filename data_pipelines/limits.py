"""How large the parts of a sample may be: settings of whoever opens a source."""

import dataclasses

# 8192 x 8192: at most 256 MiB of pixels. Below Pillow's own limit, which only warns.
MAX_PIXELS = 2**26


@dataclasses.dataclass(frozen=True)
class Limits:
    """What is larger costs its sample, and nothing of it is decoded.

    Attributes:
      pixels: of a picture, height times width.
      image_bytes: of a picture's file.
      caption_bytes: of one caption.
      metadata_bytes: of a sample's JSON, where that is read.
      audio_bytes: of a sound's file.
      audio_seconds: of a sound.

    Raises:
      ValueError: one of them is not a whole number of at least 1.
    """

    pixels: int = MAX_PIXELS
    image_bytes: int = 64 * 1024 * 1024
    caption_bytes: int = 64 * 1024
    metadata_bytes: int = 1024 * 1024
    audio_bytes: int = 64 * 1024 * 1024
    audio_seconds: int = 60

    @property
    def mark(self) -> str:
        """What tells fingerprints of data under other limits than the usual apart."""
        values, usual = dataclasses.astuple(self), dataclasses.astuple(LIMITS)
        if values == usual:
            return ""
        # Those of sounds are newer than the marks that are stored somewhere.
        return f"[limits: {values if values[4:] != usual[4:] else values[:4]}]"

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(
                    f"a limit must be a whole number of at least 1, got {name} {value!r}"
                )


LIMITS = Limits()
