"""Several captions of a sample in one row, all of them right.

References:
  Liu et al., 2024 (CLIPS), https://arxiv.org/abs/2411.16828: the web's caption and a synthetic one;
  Zheng et al., 2024 (DreamLIP), https://arxiv.org/abs/2403.17007: several of a long caption's
  sentences; Vasu et al., 2024 (MobileCLIP), https://arxiv.org/abs/2311.17049: the data's caption
  and one of several synthetic ones.
"""

import numpy as np

from data_pipelines.checks import check_whole
from data_pipelines.faults import Reject
from data_pipelines.fields import SEVERAL_CAPTIONS, Example, Texts
from data_pipelines.sources.base import Source
from data_pipelines.sources.drawn import Drawn
from data_pipelines.text import Tokenizer, clean_caption

ABSENT = -1  # the ids of a caption that a sample does not have
_LOOKED_AT = 64


class SeveralTexts(Texts):
    """Token ids of several captions a sample, int32 `[count, length]`, first those that it has.

    Args:
      tokenizer: captions to ids; None where nothing but the shape is asked for.
      count: captions a sample; of one with fewer the rest of the row is -1.
      length: ids a caption.
      first_probability: see `draw_captions`.

    Raises:
      ValueError: a value out of its range.
    """

    def __init__(
        self,
        tokenizer: Tokenizer | None,
        *,
        count: int,
        length: int,
        first_probability: float = 0.5,
    ) -> None:
        check_whole("config.data.captions_per_image", count)
        super().__init__(
            tokenizer, length=length, pad_id=ABSENT, first_probability=first_probability
        )
        self.absent = np.full((count, length), ABSENT, np.int32)

    def __call__(self, example: Example) -> np.ndarray:
        """The ids of the captions that this epoch draws."""
        assert self._tokenizer is not None, "made for its shape only"
        row, first = self.absent.copy(), self._first_probability
        captions = draw_captions(example, count=len(row), first_probability=first)
        row[: len(captions)] = self._tokenizer.encode(captions, row.shape[-1])
        return row


def draw_captions(example: Example, *, count: int, first_probability: float) -> list[str]:
    """So many captions of a sample, as this epoch draws them, none twice; all, if it has fewer.

    Args:
      example: the sample.
      count: at least 1.
      first_probability: how often the first drawn is the sample's first; else one of the others,
        each equally often, and so are the next of what is left. `Drawn` captions are drawn as they
        say.

    Raises:
      Reject: there is none, or one of those drawn cannot be used.
    """
    captions = example.source.captions(example.index)
    rng = example.generator(SEVERAL_CAPTIONS)
    if isinstance(captions, Drawn):
        drawn = captions.several(rng, count)
    else:
        places = _places(len(captions), rng, first_probability=first_probability)
        drawn = tuple(captions[place] for place in places[:count])
    limit = example.source.limits.caption_bytes
    return [clean_caption(caption, max_bytes=limit) for caption in drawn]


def _places(count: int, rng: np.random.Generator, *, first_probability: float) -> list[int]:
    """The places of all captions of a sample, in the order in which they are drawn."""
    front = 0
    if rng.random() >= first_probability and count > 1:
        front = 1 + int(rng.integers(count - 1))
    return [front, *(place for place in rng.permutation(count).tolist() if place != front)]


def check_several(source: Source, count: int) -> None:
    """Refuses more captions a sample than any of some samples has, for towers would read nothing.

    Raises:
      ValueError: says how many captions they have.
    """
    places = np.unique(np.linspace(0, len(source) - 1, _LOOKED_AT).astype(int)).tolist()
    found = [number for place in places if (number := _captions(source, place))]
    if found and max(found) < count:
        raise ValueError(
            "config.data.captions_per_image must be of captions that some sample has, got "
            f"{count}, and {len(found)} samples of {source.name} looked at have {max(found)} at "
            f"most; set it to {max(found)}, or name fields with more (config.data.captions)"
        )


def _captions(source: Source, index: int) -> int:
    """How many captions a sample has, 0 where it cannot be read."""
    try:
        return len(source.captions(index))
    except Reject:
        return 0
