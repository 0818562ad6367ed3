"""An embedded data set: what all tasks of an evaluation begin with."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from data_pipelines.evaluation import eval_captions, eval_images
from data_pipelines.faults import Reject
from data_pipelines.sources import Source
from vlp.evals.embed import Embeddings, Encoder, match
from vlp.evals.pairs import IMAGES

BATCH = 256


@dataclasses.dataclass(frozen=True)
class Gallery:
    """An embedded data set.

    Attributes:
        source: where it comes from.
        preprocess: what its images went through.
        ids: sample index of each image row.
        zimg: unit-norm image embeddings `[n, d]`.
        rejected: samples that could not be read.
        texts: captions whose image could be read.
        ztxt: their unit-norm embeddings `[m, d]`.
        image_of_text: row of `zimg` that each caption describes.
    """

    source: Source
    preprocess: Any
    ids: np.ndarray
    zimg: np.ndarray
    rejected: int
    texts: list[str]
    ztxt: np.ndarray
    image_of_text: np.ndarray

    def caption(self, row: int) -> str:
        """The first caption of an image row; "" where it has no usable one."""
        own = np.flatnonzero(self.image_of_text == row)
        return self.texts[own[0]] if len(own) else ""

    def captions(self) -> list[list[str]]:
        """The captions of each image row."""
        captions: list[list[str]] = [[] for _ in self.ids]
        for text, row in zip(self.texts, self.image_of_text, strict=True):
            captions[row].append(text)
        return captions

    def batches(self) -> Iterator[Mapping[str, Any]]:
        """The images once more, in blocks whose tokens fit into memory."""
        size = min(IMAGES, len(self.source))
        return eval_images(self.source, self.preprocess, batch_size=size)

    def field(self, name: str) -> list[str]:
        """A metadata field of each image row as text; "" where a sample has none."""
        return [str(_meta(self.source, int(i)).get(name) or "") for i in self.ids]

    def fields(self) -> list[str]:
        """The metadata fields of the first image."""
        return sorted(_meta(self.source, int(self.ids[0])))


def embed_images(encoder: Encoder, source: Source, *, preprocess: Any) -> Embeddings:
    """The embedded images of a data set."""
    batches = eval_images(source, preprocess, batch_size=min(BATCH, len(source)))
    return encoder.embed_images(batches)


def embed_gallery(
    encoder: Encoder,
    images: Embeddings,
    *,
    source: Source,
    preprocess: Any,
    tokenize: Callable[[list[str]], np.ndarray],
    captions: str,
) -> Gallery:
    """The gallery of embedded images and of their captions, which are embedded now.

    Args:
        encoder: embeds.
        images: see `embed_images`.
        source: where they come from.
        preprocess: what they went through.
        tokenize: strings to ids.
        captions: "first" of each sample, or "all".

    Raises:
        ValueError: when there is no usable caption.
    """
    texts, sample_of_text = eval_captions(source, captions=captions)
    if not texts:
        raise ValueError(f"{source.name} must hold at least one usable caption, found none")
    kept, image_of_text = match(images.ids, sample_of_text)
    texts = [texts[i] for i in kept]
    return Gallery(
        source=source,
        preprocess=preprocess,
        ids=images.ids,
        zimg=images.vectors,
        rejected=images.rejected,
        texts=texts,
        ztxt=encoder.embed_texts(texts, tokenize, batch_size=BATCH),
        image_of_text=image_of_text,
    )


def _meta(source: Source, index: int) -> dict[str, Any]:
    try:
        return dict(source.meta(index))
    except Reject:
        return {}
