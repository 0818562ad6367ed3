"""Embedding a data set shard by shard."""

import dataclasses
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from data_pipelines.assemble import Batch
from data_pipelines.evaluation import eval_captions, eval_rows
from data_pipelines.fields import Example, Field
from data_pipelines.sources.base import check_read
from data_pipelines.sources.part import PartSource
from vlp.evals.embed import Embeddings, Progress
from vlp.jobs.embed_folder import EmbedFolder
from vlp.jobs.embedding import reasons
from vlp.jobs.job import Job


@dataclasses.dataclass(frozen=True)
class Views:
    """Images as the first epochs of a training augment them, for its stored vectors.

    Attributes:
        pictures: the training's images.
        count: of the epochs.
        seed: of the training.
    """

    pictures: Field
    count: int
    seed: int

    def batches(self, part: PartSource, view: int, *, rows: int, threads: int) -> Iterator[Batch]:
        """The images of a part in one epoch, in batches as those of `eval_images`."""

        def load(index: int) -> np.ndarray:
            source, place = part.below(index)
            return self.pictures(Example(source, place, epoch=view, seed=self.seed))[None]

        blank = self.pictures.absent[None]
        return eval_rows(
            part, "image", load=load, blank=blank, batch_size=rows, num_threads=threads
        )


@dataclasses.dataclass(frozen=True)
class Embed(Job[EmbedFolder]):
    """Embeds images and captions.

    Attributes:
        captions: "first" of each sample, or "all".
        views: what images are embedded of; None for themselves.
    """

    captions: str
    views: Views | None = None

    def write_part(self, out: EmbedFolder, part: int, *, progress: Progress) -> None:
        """Embeds the samples of a shard."""
        whole = PartSource(self.source, *out.samples(part))
        texts, sample_of_text, left_out = eval_captions(whole, captions=self.captions)
        check_read(left_out, whole.name)
        first_caption = dict(zip(sample_of_text[::-1].tolist(), texts[::-1], strict=True))
        nothing = np.zeros((0, self.run.card["model"]["embed_dim"]), np.float32)
        images = captions = self._table(whole, np.zeros(0, np.int64), [], nothing)
        rejected = 0
        if self.run.model.image is not None:
            found = self._embed_images(whole, progress=progress)
            check_read(reasons(found), whole.name)
            names = [first_caption.get(sample, "") for sample in found.ids.tolist()]
            images = self._table(whole, found.ids, names, found.vectors)
            rejected = found.rejected
        if self.reads_captions and texts:
            vectors = self.encoder.embed_texts(texts, self.run.tokenize, batch_size=self.rows)
            captions = self._table(whole, sample_of_text, texts, vectors)
        missing = left_out.total() if self.reads_captions else 0
        out.write(part, images=images, captions=captions, rejected=rejected, left_out=missing)

    def _embed_images(self, part: PartSource, *, progress: Progress) -> Embeddings:
        """The vectors of a part's images; with views those of each image follow each other."""
        embed = partial(self.encoder.embed_images, progress=progress, at_least_one=False)
        if self.views is None:
            return embed(self.images(part, rows=self.rows))
        found = [
            embed(self.views.batches(part, view, rows=self.rows, threads=self.threads))
            for view in range(self.views.count)
        ]
        vectors = np.stack([each.vectors for each in found], axis=1)
        return Embeddings(
            vectors.reshape(-1, vectors.shape[2]),
            np.repeat(found[0].ids, self.views.count),
            found[0].rejects,
        )

    @property
    def reads_captions(self) -> bool:
        """Whether the model has a text tower and came with its tokenizer."""
        return self.run.model.text is not None and self.run.tokenizer is not None

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
