"""Captioning a data set part by part."""

import dataclasses
import functools
from collections import Counter
from typing import Any

import jax
import numpy as np
from flax import nnx

from data_pipelines.assemble import Batch
from data_pipelines.faults import REASONS
from data_pipelines.sources.base import check_read
from data_pipelines.sources.part import PartSource
from vlp.evals.embed import Progress, lagging
from vlp.generation import Captions, Method, check_writes, prompt_tokens
from vlp.interop.loaded import Run
from vlp.jobs.caption_file import CaptionFile
from vlp.jobs.job import Job, origin
from vlp.models.naflex import device_images
from vlp.parallel.ids import device_ids


@dataclasses.dataclass(frozen=True)
class Caption(Job[CaptionFile]):
    """Writes a caption for every image; captions of the data are not read.

    Attributes:
        method: how captions are written.
    """

    method: Method

    def write_part(self, out: CaptionFile, part: int, *, progress: Progress) -> None:
        """Writes the lines that a part still lacks, a batch at a time."""
        out.repair(part)
        first, stop = out.samples(part)
        done = out.lines(part)
        progress(done)
        rest = PartSource(self.source, first + done, stop)
        batches = self.images(rest, rows=self.encoder.divisible(self.rows))
        begun = ((batch, self._captions(batch, first=rest.first)) for batch in batches)
        for batch, captions in lagging(begun, by=1):  # read while the devices work on the next
            rows = self._lines(rest, batch, captions)
            out.append(part, rows)
            done += len(rows)
            progress(done)

    def _captions(self, batch: Batch, *, first: int) -> Captions:
        # What is drawn for an image follows from its index in the whole.
        ids = device_ids(np.maximum(batch["id"] + first, 0))
        rows = jax.tree.map(self.encoder.put, (device_images(batch["image"]), ids))
        return _write(self.encoder.graphdef, self.encoder.params, *rows, method=self.method)

    def _lines(self, part: PartSource, batch: Batch, captions: Captions) -> list[dict[str, Any]]:
        tokenizer = self.run.tokenizer
        assert tokenizer is not None, "checked before the job"
        texts = tokenizer.decode(self.method.written(np.asarray(captions.ids)))
        scores = np.asarray(captions.scores).tolist()
        lines = []
        check_read(Counter(REASONS[code - 1] for code in batch["reject"] if code), part.name)
        for row in np.flatnonzero(batch["id"] >= 0).tolist():
            reject = int(batch["reject"][row])
            said = {"error": REASONS[reject - 1]}
            if not reject:
                said = {"caption": texts[row], "score": round(scores[row], 6)}
            lines.append(origin(part, int(batch["id"][row])) | said)
        return lines


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


@functools.partial(jax.jit, static_argnames=("graphdef", "method"))
def _write(graphdef: Any, params: Any, images: Any, ids: Any, *, method: Method) -> Captions:
    model = nnx.merge(graphdef, params)
    return method(model, model.encode_image(images), ids)
