"""An embedded data set: what all tasks of an evaluation begin with."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from data_pipelines.faults import summary
from data_pipelines.sources import Source
from vlp.evals.embed import Encoder
from vlp.evals.pairs import IMAGES
from vlp.jobs.shown_again import shown_again


@dataclasses.dataclass(frozen=True)
class Images:
    """The embedded images of a data set, or its sounds.

    Attributes:
        source: where they come from.
        preprocess: what they went through.
        threads: batches that are loaded at the same time.
        ids: sample index of each row.
        zimg: unit-norm embeddings `[n, d]`.
        rejects: samples that could not be read, by reason.
    """

    source: Source
    preprocess: Any
    threads: int
    ids: np.ndarray
    zimg: np.ndarray
    rejects: Mapping[str, int]

    def batches(self, encoder: Encoder) -> Iterator[Mapping[str, Any]]:
        """The images once more for an encoder's devices, in blocks whose tokens fit into memory."""
        how: Any = dict(ids=self.ids, encoder=encoder, rows=IMAGES, threads=self.threads)
        return shown_again(self.source, self.preprocess, **how)

    def counts(self) -> dict[str, int]:
        """What was left out, for the counts of a result."""
        return {"rejected": sum(self.rejects.values())}

    def notes(self) -> list[str]:
        """The same in words, where there is any."""
        return [f"images left out: {summary(self.rejects)}"] if self.rejects else []


@dataclasses.dataclass(frozen=True)
class Gallery(Images):
    """An embedded data set with its captions.

    Attributes:
        texts: captions whose image could be read.
        ztxt: their unit-norm embeddings `[m, d]`.
        image_of_text: row of `zimg` that each caption describes.
        left_out: captions that could not be used, by reason.
    """

    texts: list[str]
    ztxt: np.ndarray
    image_of_text: np.ndarray
    left_out: Mapping[str, int]

    def captions(self) -> list[list[str]]:
        """The captions of each image row."""
        captions: list[list[str]] = [[] for _ in self.ids]
        for text, row in zip(self.texts, self.image_of_text, strict=True):
            captions[row].append(text)
        return captions

    def counts(self) -> dict[str, int]:
        """What was left out, images and captions."""
        return {**super().counts(), "captions_left_out": sum(self.left_out.values())}

    def notes(self) -> list[str]:
        """The same in words, where there is any."""
        said = [f"captions left out: {summary(self.left_out)}"] if self.left_out else []
        return super().notes() + said
