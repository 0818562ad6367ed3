"""The way of every job that goes through a data set part by part, shared by its processes."""

import abc
import argparse
import dataclasses
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from typing import Any, Generic, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from data_pipelines.assemble import Batch
from data_pipelines.evaluation import eval_images
from data_pipelines.sources import Source
from data_pipelines.sources.part import PartSource
from vlp.caches import use_compilation_cache
from vlp.evals.embed import Encoder, Progress
from vlp.files import utf8
from vlp.interop.loaded import Run, fingerprint
from vlp.interop.runs import RUN
from vlp.jobs.data_table import say_data
from vlp.jobs.parts import Parts
from vlp.jobs.progress import counting
from vlp.parallel.lock import Lock, only_writer
from vlp.parallel.mesh import make_mesh
from vlp.parallel.together import everywhere, on_first

P = TypeVar("P", bound=Parts)


@dataclasses.dataclass(frozen=True)
class Job(abc.ABC, Generic[P]):
    """What is done to every part of a data set.

    Attributes:
        run: the model.
        source: the data.
        rows: images that this process gives the model at once.
        threads: batches of images that are loaded at the same time.
    """

    run: Run
    source: Source
    rows: int
    threads: int

    @abc.abstractmethod
    def write_part(self, out: P, part: int, *, progress: Progress) -> None:
        """Writes a part that is not whole yet.

        Args:
            out: where to.
            part: its number.
            progress: called with the number of its samples that are done.
        """

    def carry_out(
        self, make: Callable[[], P], *, lock: Lock, role: str, report: Callable[[P], None]
    ) -> None:
        """Makes an output this job's, says what its data hold, and writes what is not there yet.

        Every process must call this at the same time.

        Args:
            make: the output; refuses one of another job.
            lock: of the output.
            role: what the data are for.
            report: what the first process does with the whole output.
        """
        with only_writer(lock):
            out = everywhere(make)
            use_compilation_cache()
            on_first(out.claim)
            file = None if out.data_table.exists() else out.data_table
            on_first(lambda: say_data({role: self.source}, file=file))
            self.write(out)
            on_first(lambda: report(out))

    def write(self, out: P) -> None:
        """Writes what is not there yet; with several processes each writes its share.

        Every process must call this at the same time, and see the same folder.

        Args:
            out: claimed by this job.

        Raises:
            ValueError: the folder is not shared, or no longer as it was.
        """
        own = own_parts([not out.is_done(part) for part in range(len(out))])
        sizes = [stop - first for first, stop in map(out.samples, own)]
        with counting("samples", sum(sizes)) as show:
            done = 0
            for part, size in zip(own, sizes, strict=True):
                self.write_part(
                    out, part, progress=partial(lambda before, rows: show(before + rows), done)
                )
                done += size
                show(done)
        multihost_utils.sync_global_devices("all parts are written")
        on_first(out.finish)

    @cached_property
    def encoder(self) -> Encoder:
        """The model on this process's devices: its parts are nobody else's business."""
        mesh = make_mesh(devices=jax.local_devices())
        return Encoder.from_model(self.run.model, text=self.run.card["model"]["text"], mesh=mesh)

    def images(self, part: PartSource, *, rows: int) -> Iterator[Batch]:
        """The images of a part in batches; see `eval_images`."""
        return eval_images(part, self.run.preprocess, batch_size=rows, num_threads=self.threads)


def provenance(args: argparse.Namespace, loaded: Run, source: Source) -> dict[str, Any]:
    """Model and data of a job, as JSON values by which both can be opened again."""
    path = loaded.folder
    if loaded.format == RUN:  # this very checkpoint, should the run go on
        path = loaded.folder / "checkpoints" / str(loaded.step)
    return {
        "model": fingerprint(loaded.model),
        "model_source": f"{loaded.format}:{path}",
        "model_settings": {
            "weights": args.weights or "auto",
            "arch": args.arch,
            "image_size": args.image_size,
            "text_length": args.text_length,
            "tokenizer": args.tokenizer,
        },
        "preprocess": loaded.card["preprocess"],
        "tokenizer": loaded.card["tokenizer"],
        "data": source.fingerprint,
        "data_source": args.data,
        "max_pixels": source.limits.pixels,
        "samples": len(source),
    }


def own_parts(missing: list[bool]) -> list[int]:
    """The parts that this process writes: an even share of what the first one sees missing.

    Every process must call this at the same time.
    """
    seen = multihost_utils.broadcast_one_to_all(np.asarray(missing, np.int32))
    return np.flatnonzero(seen)[jax.process_index() :: jax.process_count()].tolist()


def origin(part: PartSource, index: int) -> dict[str, Any]:
    """Where a sample of a part is from: its key, its index in the whole, and its file."""
    return {
        "key": utf8(part.key(index)),
        "index": part.first + index,
        "file": utf8(part.file(index)),
    }
