"""Judging an encoder on a data set: what `vlp eval`, training and the report share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from data_pipelines.sources import open_source
from vlp.cli.gallery import BATCH, Gallery, embed_gallery, embed_images
from vlp.cli.tasks import TASKS, check_task
from vlp.evals.embed import Embeddings, Encoder
from vlp.evals.results import make_result
from vlp.interop.load import Run
from vlp.version import versions


@dataclasses.dataclass
class Judge:
    """One encoder with its preprocessing and tokenizer; embeds each data set once.

    Attributes:
        encoder: embeds batches and strings.
        preprocess: an `ImagePreprocess` or `NaflexPreprocess`.
        tokenize: strings to int32 `[n, l]`.
        decode: such ids to strings, what stands for no word left out.
        step: training step of the encoder's weights.
        dtype: what the towers compute in.
    """

    encoder: Encoder
    preprocess: Any
    tokenize: Callable[[list[str]], np.ndarray]
    decode: Callable[[np.ndarray], list[str]]
    step: int
    dtype: str
    _images: dict[str, Embeddings] = dataclasses.field(default_factory=dict)
    _galleries: dict[tuple[str, str], Gallery] = dataclasses.field(default_factory=dict)

    @classmethod
    def of_run(cls, run: Run) -> Judge:
        """The judge of a model that was loaded."""
        encoder = Encoder.from_model(run.model, text=run.card["model"]["text"])
        dtype = getattr(run.model.image or run.model.text, "dtype", "float32")
        decode: Any = run.tokenizer and run.tokenizer.decode
        return cls(encoder, run.preprocess, run.tokenize, decode, run.step, dtype)

    def gallery(self, data: str, *, captions: str = "first") -> Gallery:
        """The embedded images and captions of a data set."""
        key = (data, captions)
        if key not in self._galleries:
            source = open_source(data)
            if data not in self._images:
                self._images[data] = embed_images(self.encoder, source, preprocess=self.preprocess)
            self._galleries[key] = embed_gallery(
                self.encoder,
                self._images[data],
                source=source,
                preprocess=self.preprocess,
                tokenize=self.tokenize,
                captions=captions,
            )
        return self._galleries[key]

    def tokens(self, texts: list[str]) -> np.ndarray:
        """Token ids int32 `[m, l]` of any number of texts."""
        parts = (texts[i : i + BATCH] for i in range(0, len(texts), BATCH))
        return np.concatenate([self.tokenize(part) for part in parts])

    def judge(self, task: str, *, data: str, **settings: Any) -> dict[str, Any]:
        """The result of one task on one data set, see `vlp.evals.results.make_result`.

        Args:
            task: "retrieval" (settings: `captions` "first" or "all"; `group`, a metadata field
                whose values are reported on their own; `rerank`, how many of the dual encoder's
                best candidates are ordered anew by the model's match, 0 for none, `rerank_by`
                "match" or "match_and_cosine"); "classification" (`label`, the metadata field that
                is the class, and `templates`, a name or a file); "matching" (`captions`);
                "masked_words" (`mask_id`, `captions`); "captioning" (`num_beams`,
                `length_penalty`, `min_length`, `prompt`).
            data: tars, a folder, or `emoji:NAME`.

        Raises:
            ValueError: when there is no such task or setting, or the model cannot do it.
        """
        check_task(task, model=self.encoder.model(), settings=settings)
        scores, gallery = TASKS[task].run(self, data, **settings)
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
