"""Embedding a data set shard by shard, the shards shared by the processes of a job."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from rich.progress import Progress, TaskID

from data_pipelines.evaluation import eval_captions, eval_images
from data_pipelines.sources import Source
from data_pipelines.sources.part import PartSource
from vlp.evals.embed import Encoder
from vlp.interop.loaded import Run
from vlp.jobs.parts import own_share
from vlp.jobs.progress import progress_bar
from vlp.parallel.mesh import make_mesh
from vlp.vectors.shards import Shards


@dataclasses.dataclass(frozen=True)
class Job:
    """What is embedded and how.

    Attributes:
        run: the model.
        source: the data.
        captions: "first" of each sample, or "all".
        rows: encoded at once by this process.
        threads: batches of images that are loaded at the same time.
    """

    run: Run
    source: Source
    captions: str
    rows: int
    threads: int

    def embed(self, shards: Shards) -> None:
        """Embeds what is not there yet; with several processes each embeds its share.

        Every process must call this at the same time, and see the same folder.

        Args:
            shards: claimed by this job.

        Raises:
            ValueError: the folder is not shared, or no longer as it was.
        """
        self._write(shards, own_share([not shards.is_done(i) for i in range(len(shards))]))
        multihost_utils.sync_global_devices("all shards are written")
        lacking = [shard for shard in range(len(shards)) if not shards.is_done(shard)]
        if lacking:
            raise ValueError(
                f"{shards.folder} must be a folder that all processes share, this one does not see "
                f"{len(lacking)} of {len(shards)} shards; give one on a shared disk"
            )

    def columns(
        self, encoder: Encoder, first: int, stop: int, *, progress: Callable[[int], None]
    ) -> dict[str, Any]:
        """What `Shards.write` takes, of the samples `first` to `stop` (not included).

        Args:
            encoder: of the model.
            first, stop: indices in the source.
            progress: called with the number of images done so far.
        """
        part = PartSource(self.source, first, stop)
        texts, sample_of_text, left_out = eval_captions(part, captions=self.captions)
        first_caption = dict(zip(sample_of_text[::-1].tolist(), texts[::-1], strict=True))
        images = captions = self._table(part, np.zeros(0, np.int64), [], self._nothing)
        rejected = 0
        if self.run.model.image is not None:
            batches = eval_images(
                part, self.run.preprocess, batch_size=self.rows, num_threads=self.threads
            )
            found = encoder.embed_images(batches, progress=progress, at_least_one=False)
            names = [first_caption.get(sample, "") for sample in found.ids.tolist()]
            images = self._table(part, found.ids, names, found.vectors)
            rejected = found.rejected
        if self.reads_captions and texts:
            vectors = encoder.embed_texts(texts, self.run.tokenize, batch_size=self.rows)
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

    def _write(self, shards: Shards, numbers: list[int]) -> None:
        # This process's devices only: its shards are nobody else's business.
        mesh = make_mesh(devices=jax.local_devices())
        encoder = Encoder.from_model(self.run.model, text=self.run.card["model"]["text"], mesh=mesh)
        with progress_bar() as bar:
            ranges = [shards.samples(number) for number in numbers]
            task = bar.add_task("samples", total=sum(stop - first for first, stop in ranges))
            done = 0
            for number, (first, stop) in zip(numbers, ranges, strict=True):
                progress = functools.partial(_show, bar, task, done)
                shards.write(number, **self.columns(encoder, first, stop, progress=progress))
                done += stop - first
                _show(bar, task, done)


def _show(bar: Progress, task: TaskID, before: int, rows: int = 0) -> None:
    bar.update(task, completed=before + rows)
