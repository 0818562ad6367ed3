"""The pictures of an embedded data set once more, decoded by all processes together."""

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Int

from data_pipelines.evaluation import Deal, eval_images
from data_pipelines.sources import Source
from vlp.evals.embed import Encoder
from vlp.parallel.sharding import batch_sharding
from vlp.parallel.together import raise_anywhere


def shown_again(
    source: Source,
    preprocess: Any,
    *,
    ids: Int[np.ndarray, " n"],
    encoder: Encoder,
    rows: int,
    threads: int,
) -> Iterator[Mapping[str, Any]]:
    """Batches for `vlp.evals.pairs.read_pairs`; with several processes each decodes its share.

    Args:
        source: the data.
        preprocess: what pictures go through.
        ids: samples that could be read before, ascending.
        encoder: whose devices get them.
        rows: of a batch over all devices, about.
        threads: batches that are loaded at the same time.

    Raises:
        ValueError: a sample cannot be read any more, on whichever process.
    """
    size = min(rows, len(source))
    if encoder.processes == 1:
        for batch in eval_images(source, preprocess, batch_size=size, num_threads=threads):
            if lost := _lost(source, batch, ids):
                raise lost
            # What could not be read before has no row among the embeddings, readable or not.
            known = np.isin(batch["id"], ids)
            yield batch | {"weight": known.astype(batch["weight"].dtype)}
        return
    size = encoder.divisible(size)
    process, local = _owners(encoder, size)
    own = size // encoder.processes
    failures: list[Exception] = []
    deal = Deal(jax.process_index(), encoder.processes, failures)
    batches = eval_images(source, preprocess, batch_size=own, num_threads=threads, deal=deal)
    for number, batch in enumerate(batches):
        if not failures and (lost := _lost(source, batch, ids)):
            failures.append(lost)
        # Which sample each row of the whole batch is: processes have a stretch each.
        samples = (number * encoder.processes + process) * own + local
        readable = np.flatnonzero(np.isin(samples, ids))
        places = readable[np.argsort(samples[readable], kind="stable")]
        yield {"image": batch["image"], "places": places}
    raise_anywhere(failures)


def _lost(
    source: Source, batch: Mapping[str, Any], ids: Int[np.ndarray, " n"]
) -> ValueError | None:
    """The error where a sample that could be read before no longer can."""
    lost = np.isin(batch["id"], ids) & (batch["weight"] <= 0)
    if not lost.any():
        return None
    sample = int(batch["id"][lost][0])
    return ValueError(
        f"every picture that was embedded must be read once more, sample {sample} "
        f"({source.key(sample)}) of {source.name} cannot; put its file back and start again"
    )


def _owners(encoder: Encoder, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """The process that hands in each row of a batch, and which of its rows it is there."""
    assert encoder.mesh is not None
    where: Mapping[Any, Any] = batch_sharding(encoder.mesh).devices_indices_map((rows,))
    stretches = {
        index[0].indices(rows)[:2]: device.process_index for device, index in where.items()
    }
    process, local = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
    given: dict[int, int] = {}
    for (start, stop), owner in sorted(stretches.items()):
        before = given.get(owner, 0)
        process[start:stop] = owner
        local[start:stop] = before + np.arange(stop - start)
        given[owner] = before + stop - start
    return process, local
