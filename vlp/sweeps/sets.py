"""A data set of an evaluation, whatever layout it lies in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Int

from data_pipelines.sources import Source
from vlp.sweeps.masks import Masks

PLAIN, UPRIGHT = "plain", "upright"
PICTURES = (PLAIN, UPRIGHT)


@dataclass(frozen=True)
class Choices:
    """Questions that each have a few pictures and a few texts of their own.

    A question without texts asks of its first picture to which of the others it belongs.

    Attributes:
      pictures: of each question, indices of the set's pictures.
      texts: of each question, indices of the set's texts.
      right: of each question, whether picture i and text j belong together, `[pictures, texts]`; of
        one without texts, which of the other pictures are right, `[pictures - 1, 1]`.
      kinds: of each question, what it asks of; for scores by kind.
      beside: of each question, by picture the index of a text that is shown with it, -1 for none.
    """

    pictures: Sequence[Int[np.ndarray, " _"]]  # of another length in each
    texts: Sequence[Int[np.ndarray, " _"]]
    right: Sequence[Bool[np.ndarray, "_ _"]]
    kinds: Sequence[str] = ()
    beside: Sequence[Int[np.ndarray, " _"]] = ()

    def __len__(self) -> int:
        return len(self.pictures)


@dataclass(frozen=True)
class EvalSet:
    """Pictures, and what is known of them. What a set has not is None, or empty.

    Attributes:
      name: of the set, as rows call it.
      pictures: the samples; their captions and labels are those below.
      labels: class of each picture, int64 `[n]`, -1 for none; or bool `[n, k]` for several.
      class_names: what prompts say, by class.
      aliases: all names of each class with their weights, where classes have several.
      templates: prompts with one `{c}` for the name; where they differ by class, in `prompts`.
      prompts: whole prompts by class, in place of templates.
      texts: captions.
      picture_of_text: the picture that each describes, int64 `[m]`.
      groups: values by field, one a picture; "" for none.
      choices: questions with candidates of their own.
      masks: the class of each pixel, a mask a picture.
      train: the pictures and labels that probes learn from.
      notes: sentences on what was found, for a reader of the scores.
    """

    name: str
    pictures: Source
    labels: Int[np.ndarray, " n"] | Bool[np.ndarray, "n k"] | None = None
    class_names: Sequence[str] = ()
    aliases: Sequence[Mapping[str, float]] = ()
    templates: Sequence[str] = ()
    prompts: Sequence[Sequence[str]] = ()
    texts: Sequence[str] = ()
    picture_of_text: Int[np.ndarray, " m"] | None = None
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    choices: Choices | None = None
    masks: Masks | None = None
    train: "EvalSet | None" = None
    notes: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.pictures)
