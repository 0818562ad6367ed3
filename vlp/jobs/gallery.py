"""An embedded data set: what all tasks of an evaluation begin with."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from data_pipelines.evaluation import eval_captions, eval_images, eval_sounds
from data_pipelines.faults import REASONS, summary
from data_pipelines.sources import Source
from data_pipelines.threads import THREADS
from vlp.evals.embed import Encoder, Progress, match
from vlp.evals.pairs import IMAGES

BATCH = 256


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

    def batches(self) -> Iterator[Mapping[str, Any]]:
        """The images once more, in blocks whose tokens fit into memory."""
        size = min(IMAGES, len(self.source))
        return eval_images(self.source, self.preprocess, batch_size=size, num_threads=self.threads)

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


def embed_images(
    encoder: Encoder,
    source: Source,
    *,
    preprocess: Any,
    modality: str = "image",
    threads: int = THREADS,
    progress: Progress | None = None,
) -> Images:
    """The embedded images of a data set, or its sounds.

    Args:
        encoder: embeds.
        source: the data.
        preprocess: what images go through; a `Spectrogram` for sounds.
        modality: "image" or "audio".
        threads: batches that are loaded at the same time.
        progress: called with the number of images done.

    Raises:
        ValueError: no image can be read.
    """
    size = min(BATCH, len(source))
    load: Any = {"image": eval_images, "audio": eval_sounds}[modality]
    batches = load(source, preprocess, batch_size=size, num_threads=threads)
    found = encoder.embed_images(batches, modality=modality, progress=progress, at_least_one=False)
    rejects = {REASONS[code - 1]: count for code, count in found.rejects.items()}
    if not len(found):
        raise ValueError(
            f"{source.name} must hold {modality} that can be read, of {len(source):,} samples none "
            f"can: {summary(rejects)}"
        )
    return Images(source, preprocess, threads, found.ids, found.vectors, rejects)


def embed_captions(
    encoder: Encoder,
    images: Images,
    *,
    tokenize: Callable[[list[str]], np.ndarray],
    captions: str,
) -> Gallery:
    """The gallery of embedded images and of their captions, which are embedded now.

    Args:
        encoder: embeds.
        images: see `embed_images`.
        tokenize: strings to ids.
        captions: "first" of each sample, or "all".

    Raises:
        ValueError: no image has a usable caption.
    """
    found = eval_captions(images.source, captions=captions)
    kept, image_of_text = match(images.ids, found.ids)
    texts = [found.texts[i] for i in kept]
    if not texts:
        raise ValueError(
            f"{images.source.name} must hold an image with a caption, found none: "
            f"{summary(Counter(images.rejects) + found.rejects)}"
        )
    return Gallery(
        **vars(images),
        texts=texts,
        ztxt=encoder.embed_texts(texts, tokenize, batch_size=BATCH),
        image_of_text=image_of_text,
        left_out=found.rejects,
    )
