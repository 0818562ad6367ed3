"""Embeds a data set by several models at once: its samples are loaded once, by all processes."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils

from data_pipelines.evaluation import Deal, eval_images, eval_sounds
from data_pipelines.faults import REASONS
from data_pipelines.sources import Source
from data_pipelines.threads import THREADS
from vlp.evals.dealt import embedding_dealt
from vlp.evals.embed import IMAGES_ON_CPU, Embeddings, Encoder, Progress, finished, side_by_side
from vlp.evals.features import EMBEDDING
from vlp.parallel.mesh import batch_parts
from vlp.parallel.together import raise_anywhere

ROWS = 64  # of a device in a batch
_LOADS: Mapping[str, Callable] = {"image": eval_images, "audio": eval_sounds}


class Embedded(NamedTuple):
    """An embedded data set.

    Attributes:
        found: by each model.
        loaded: samples that each process loaded.
    """

    found: list[Embeddings]
    loaded: list[int]


def embed_source(
    encoders: Sequence[Encoder],
    source: Source,
    preprocess: Any,
    *,
    modality: str = "image",
    names: Sequence[tuple[str, ...]] = (),
    threads: int = THREADS,
    progress: Progress | None = None,
) -> Embedded:
    """The embeddings of all samples by each model, on every process.

    Every process must call this at the same time. Each loads its share, and all devices embed.

    Args:
        encoders: on one mesh; they take what the same preprocessing makes.
        source: the data.
        preprocess: what the samples go through, see `eval_images`, `eval_sounds`.
        modality: "image" or "audio".
        names: features that are made by each model, see `vlp.evals.features`; embeddings unless
            given.
        threads: batches that are loaded at the same time.
        progress: called with the number of samples that are done.

    Raises:
        ValueError, OSError: the data could not be read, on whichever process.
    """
    parts, processes = batch_parts(encoders[0].mesh), encoders[0].processes
    failures: list[Exception] | None = [] if processes > 1 else None
    batches = _LOADS[modality](
        source,
        preprocess,
        batch_size=rows_of_device() * parts // processes,
        num_threads=threads,
        deal=Deal(jax.process_index(), processes, failures),
    )
    loaded = np.zeros(1, np.int64)
    copies = itertools.tee(_counted(batches, loaded), len(encoders))
    embedding: Callable = embedding_dealt if processes > 1 else Encoder.embedding
    works = [
        embedding(encoder, copy, modality=modality, names=own)
        for encoder, copy, own in zip(
            encoders, copies, names or [(EMBEDDING,)] * len(encoders), strict=True
        )
    ]
    found = finished(side_by_side(works), progress)
    raise_anywhere(failures or [])
    counts = multihost_utils.process_allgather(loaded) if processes > 1 else loaded
    return Embedded(found, counts.reshape(-1).tolist())


def rows_of_device() -> int:
    """Rows of a batch that each device gets; the same for all data, so that nothing is compiled
    twice, and embeddings are the same bits on any number of devices."""
    return ROWS if jax.default_backend() != "cpu" else IMAGES_ON_CPU


def reasons(found: Embeddings) -> Counter[str]:
    """How many samples could not be read, by why."""
    return Counter({REASONS[code - 1]: count for code, count in found.rejects.items()})


def _counted(batches: Iterator[Mapping[str, Any]], loaded: np.ndarray) -> Iterator[Any]:
    for batch in batches:
        loaded[0] += int((np.asarray(batch["id"]) >= 0).sum())
        yield batch
