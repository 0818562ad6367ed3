"""Judging an encoder on a data set: what `vlp eval`, training and the report share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from data_pipelines.evaluation import eval_captions, eval_images
from data_pipelines.faults import Reject
from data_pipelines.sources import Source, open_source
from vlp.evals import prompts
from vlp.evals.classification import class_embeddings, classification
from vlp.evals.embed import Encoder, match
from vlp.evals.results import make_result
from vlp.evals.retrieval import retrieval
from vlp.interop.load import Run
from vlp.version import versions

TASKS = ("retrieval", "classification")
BATCH = 256


@dataclasses.dataclass
class Judge:
    """One encoder with its preprocessing and tokenizer; embeds each data set once.

    Attributes:
        encoder: embeds batches and strings.
        preprocess: an `ImagePreprocess` or `NaflexPreprocess`.
        tokenize: strings to int32 `[n, l]`.
        step: training step of the encoder's weights.
        dtype: what the towers compute in.
    """

    encoder: Encoder
    preprocess: Any
    tokenize: Callable[[list[str]], np.ndarray]
    step: int
    dtype: str
    _galleries: dict[tuple[str, str], Gallery] = dataclasses.field(default_factory=dict)

    @classmethod
    def of_run(cls, run: Run) -> Judge:
        """The judge of a model that was loaded."""
        encoder = Encoder.from_model(run.model, text=run.card["model"]["text"])
        dtype = getattr(run.model.image or run.model.text, "dtype", "float32")
        return cls(encoder, run.preprocess, run.tokenize, run.step, dtype)

    def gallery(self, data: str, *, captions: str = "first") -> Gallery:
        """The embedded images and captions of a data set."""
        key = (data, captions)
        if key not in self._galleries:
            self._galleries[key] = self._embed(*key)
        return self._galleries[key]

    def _embed(self, data: str, captions: str) -> Gallery:
        source = open_source(data)
        images = self.encoder.embed_images(
            eval_images(source, self.preprocess, batch_size=min(BATCH, len(source)))
        )
        texts, sample_of_text = eval_captions(source, captions=captions)
        if not texts:
            raise ValueError(f"{data} must hold at least one usable caption, found none")
        kept, image_of_text = match(images.ids, sample_of_text)
        texts = [texts[i] for i in kept]
        return Gallery(
            source=source,
            ids=images.ids,
            zimg=images.vectors,
            rejected=images.rejected,
            texts=texts,
            ztxt=self.encoder.embed_texts(texts, self.tokenize, batch_size=BATCH),
            image_of_text=image_of_text,
        )

    def judge(self, task: str, *, data: str, **settings: Any) -> dict[str, Any]:
        """The result of one task on one data set, see `vlp.evals.results.make_result`.

        Args:
            task: "retrieval" (settings: `captions` "first" or "all", `group`, a metadata field
                whose values are reported on their own) or "classification" (settings: `label`, the
                metadata field that is the class, and `templates`, a name or a file).
            data: tars, a folder, or `emoji:NAME`.
        """
        if task not in TASKS:
            raise ValueError(f"task must be one of {', '.join(TASKS)}, got {task!r}")
        run = self._retrieval if task == "retrieval" else self._classification
        scores, gallery = run(data, **settings)
        return make_result(
            task,
            scores,
            data=gallery.source.name,
            fingerprint=gallery.source.fingerprint,
            samples=len(gallery.ids),
            rejected=gallery.rejected,
            step=self.step,
            dtype=self.dtype,
            versions=versions(),
            settings=settings,
        )

    def _retrieval(self, data: str, *, captions: str = "first", group: str = ""):
        gallery = self.gallery(data, captions=captions)
        groups = gallery.field(group) if group else None
        return retrieval(gallery.zimg, gallery.ztxt, gallery.image_of_text, groups=groups), gallery

    def _classification(self, data: str, *, label: str, templates: str = "simple"):
        gallery = self.gallery(data)
        labels = gallery.field(label)
        names = sorted(set(labels) - {""})
        if len(names) < 2:
            raise ValueError(
                f"classification needs at least two classes in the field {label!r} of the samples' "
                f"JSON, found {names}; fields there: {', '.join(gallery.fields()) or 'none'}"
            )
        rows = [row for row, value in enumerate(labels) if value]
        zclass = class_embeddings(names, prompts.templates(templates), self._embed_texts)
        index = np.asarray([names.index(labels[row]) for row in rows])
        return classification(gallery.zimg[rows], zclass, index), gallery

    def _embed_texts(self, texts: list[str]) -> np.ndarray:
        return self.encoder.embed_texts(texts, self.tokenize, batch_size=BATCH)


@dataclasses.dataclass(frozen=True)
class Gallery:
    """An embedded data set.

    Attributes:
        source: where it comes from.
        ids: sample index of each image row.
        zimg: unit-norm image embeddings `[n, d]`.
        rejected: samples that could not be read.
        texts: captions whose image could be read.
        ztxt: their unit-norm embeddings `[m, d]`.
        image_of_text: row of `zimg` that each caption describes.
    """

    source: Source
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

    def field(self, name: str) -> list[str]:
        """A metadata field of each image row as text; "" where a sample has none."""
        return [str(_meta(self.source, int(i)).get(name) or "") for i in self.ids]

    def fields(self) -> list[str]:
        """The metadata fields of the first image."""
        return sorted(_meta(self.source, int(self.ids[0])))


def _meta(source: Source, index: int) -> dict[str, Any]:
    try:
        return dict(source[index].meta)
    except Reject:
        return {}
