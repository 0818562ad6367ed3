"""Embedding a data set shard by shard."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from data_pipelines.evaluation import eval_captions
from data_pipelines.sources.part import PartSource
from vlp.evals.embed import Progress
from vlp.jobs.embed_folder import EmbedFolder
from vlp.jobs.job import Job


@dataclasses.dataclass(frozen=True)
class Embed(Job[EmbedFolder]):
    """Embeds images and captions.

    Attributes:
        captions: "first" of each sample, or "all".
    """

    captions: str

    def write_part(self, out: EmbedFolder, part: int, *, progress: Progress) -> None:
        """Embeds the samples of a shard."""
        out.write(part, **self.columns(*out.samples(part), progress=progress))

    def columns(self, first: int, stop: int, *, progress: Progress) -> dict[str, Any]:
        """What `EmbedFolder.write` takes, of the samples `first` to `stop` (not included).

        Args:
            first, stop: indices in the source.
            progress: called with the number of images done so far.
        """
        part = PartSource(self.source, first, stop)
        texts, sample_of_text, left_out = eval_captions(part, captions=self.captions)
        first_caption = dict(zip(sample_of_text[::-1].tolist(), texts[::-1], strict=True))
        images = captions = self._table(part, np.zeros(0, np.int64), [], self._nothing)
        rejected = 0
        if self.run.model.image is not None:
            batches = self.images(part, rows=self.rows)
            found = self.encoder.embed_images(batches, progress=progress, at_least_one=False)
            names = [first_caption.get(sample, "") for sample in found.ids.tolist()]
            images = self._table(part, found.ids, names, found.vectors)
            rejected = found.rejected
        if self.reads_captions and texts:
            vectors = self.encoder.embed_texts(texts, self.run.tokenize, batch_size=self.rows)
            captions = self._table(part, sample_of_text, texts, vectors)
        missing = left_out.total() if self.reads_captions else 0
        return dict(images=images, captions=captions, rejected=rejected, left_out=missing)

    @property
    def reads_captions(self) -> bool:
        """Whether the model has a text tower and came with its tokenizer."""
        return self.run.model.text is not None and self.run.tokenizer is not None

    @property
    def _nothing(self) -> np.ndarray:
        return np.zeros((0, self.run.card["model"]["embed_dim"]), np.float32)

    def _table(
        self, part: PartSource, samples: np.ndarray, captions: list[str], vectors: np.ndarray
    ) -> dict[str, Any]:
        """Columns of a shard; ids count through the whole data set."""
        return {
            "embedding": vectors,
            "id": samples + part.first,
            "key": [part.key(sample) for sample in samples.tolist()],
            "file": [part.file(sample) for sample in samples.tolist()],
            "caption": captions,
        }
