"""Captioning a data set part by part, the parts shared by the processes of a job."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.experimental import multihost_utils

from data_pipelines.assemble import Batch
from data_pipelines.evaluation import eval_images
from data_pipelines.faults import REASONS
from data_pipelines.sources import Source
from data_pipelines.sources.part import PartSource
from vlp.generation import Captions, Method, check_writes, prompt_tokens
from vlp.interop.loaded import Run
from vlp.jobs.caption_file import CaptionFile
from vlp.jobs.parts import own_share, place_of
from vlp.jobs.progress import progress_bar
from vlp.models.naflex import device_images
from vlp.parallel.ids import device_ids
from vlp.parallel.mesh import make_mesh
from vlp.parallel.sharding import batch_sharding, replicated


@dataclasses.dataclass(frozen=True)
class Job:
    """What is captioned and how.

    Attributes:
        run: the model.
        source: the data; its captions are not read.
        method: how captions are written.
        rows: images captioned at once by this process.
        threads: batches of images that are loaded at the same time.
    """

    run: Run
    source: Source
    method: Method
    rows: int
    threads: int

    def write(self, file: CaptionFile) -> None:
        """Writes what is not there yet; with several processes each writes its share.

        Every process must call this at the same time, and see the same folder.

        Args:
            file: claimed by this job.

        Raises:
            ValueError: the folder is not shared.
        """
        parts = own_share([not file.is_done(part) for part in range(len(file))])
        writer = Writer(self.run.model, self.method)
        with progress_bar() as bar:
            ranges = [file.samples(part) for part in parts]
            task = bar.add_task("images", total=sum(stop - first for first, stop in ranges))
            for part in parts:
                file.repair(part)
                bar.advance(task, file.lines(part))
                for rows in self._rows(writer, file, part):
                    file.append(part, rows)
                    bar.advance(task, len(rows))
        multihost_utils.sync_global_devices("all parts are written")
        if jax.process_index() == 0:
            file.finish()
        multihost_utils.sync_global_devices("the file is whole")

    def _rows(self, writer: Writer, file: CaptionFile, part: int) -> Iterator[list[dict[str, Any]]]:
        """The lines that a part still lacks, a batch at a time."""
        first, stop = file.samples(part)
        rest = PartSource(self.source, first + file.lines(part), stop)
        if not len(rest):
            return
        size = writer.divisible(self.rows)
        batches = eval_images(rest, self.run.preprocess, batch_size=size, num_threads=self.threads)
        for batch, ids, scores in writer.write(batches, first=rest.first):
            texts = self._decode(ids)
            yield [
                self._line(rest, batch, row, text=texts[row], score=scores[row])
                for row in np.flatnonzero(batch["id"] >= 0).tolist()
            ]

    def _line(
        self, part: PartSource, batch: Batch, row: int, *, text: str, score: Any
    ) -> dict[str, Any]:
        index = int(batch["id"][row])
        line = place_of(part, index)
        if reject := int(batch["reject"][row]):
            return line | {"error": REASONS[reject - 1]}
        return line | {"caption": text, "score": round(float(score), 6)}

    def _decode(self, ids: np.ndarray) -> list[str]:
        tokenizer = self.run.tokenizer
        assert tokenizer is not None, "checked before the job"
        return tokenizer.decode(self.method.written(ids))


class Writer:
    """Writes the captions of batches, which are spread over this process's devices."""

    def __init__(self, model: nnx.Module, method: Method) -> None:
        # This process's devices only: its parts are nobody else's business.
        self.mesh = make_mesh(devices=jax.local_devices())
        self.graphdef, params = nnx.split(model)
        self.params = jax.device_put(params, replicated(self.mesh))
        self.method = method

    def divisible(self, rows: int) -> int:
        """The next number of rows that the devices can share."""
        return rows + -rows % self.mesh.size

    def write(
        self, batches: Iterator[Batch], *, first: int
    ) -> Iterator[tuple[Batch, np.ndarray, np.ndarray]]:
        """Every batch with the ids and the scores of its captions.

        Args:
            batches: of `eval_images`, all of one size that `divisible` gave.
            first: added to the ids of images, which decide what is drawn for them.
        """
        waiting: list[tuple[Batch, Captions]] = []
        for batch in batches:
            captions = self._dispatch(batch, first)
            if waiting:  # read while the devices work on the next one
                yield _read(*waiting.pop())
            waiting.append((batch, captions))
        yield from (_read(*item) for item in waiting)

    def _dispatch(self, batch: Batch, first: int) -> Captions:
        sharding = batch_sharding(self.mesh)
        ids = device_ids(np.maximum(batch["id"] + first, 0))
        images, ids = jax.device_put((device_images(batch["image"]), ids), sharding)
        return _write(self.graphdef, self.params, images, ids, method=self.method)


def fitting_method(run: Run, name: str, *, prompt: str = "", **settings: Any) -> Method:
    """A way to write captions, checked against the model; computes nothing.

    Args:
        run: the model.
        name, **settings: see `vlp.generation.Method.of`.
        prompt: what all captions begin with.

    Raises:
        ValueError: the model writes none, it came without a tokenizer, or a setting does not fit.
    """
    check_writes(run.model)
    if run.tokenizer is None:
        raise ValueError("captions need the model's tokenizer to be read; give --tokenizer=PATH")
    model: Any = run.model
    prefix = prompt_tokens(prompt, tokenize=run.tokenize, end_id=model.end_id)
    method = Method.of(name, prefix=prefix, **settings)
    method.check(model)
    return method


def _read(batch: Batch, captions: Captions) -> tuple[Batch, np.ndarray, np.ndarray]:
    return batch, np.asarray(captions.ids), np.asarray(captions.scores)


@functools.partial(jax.jit, static_argnames=("graphdef", "method"))
def _write(graphdef: Any, params: Any, images: Any, ids: Any, *, method: Method) -> Captions:
    model = nnx.merge(graphdef, params)
    return method(model, model.encode_image(images), ids)
