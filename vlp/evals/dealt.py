"""Embeds a data set of which each process loads its own share."""

from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from vlp.evals.embed import Embeddings, Encoder, lagging
from vlp.evals.encoding import encoding
from vlp.evals.features import EMBEDDING
from vlp.models.naflex import device_images
from vlp.parallel.sharding import batch_sharding

_CODES = 256  # of reasons to reject, at most


def embedding_dealt(
    encoder: Encoder,
    batches: Iterable[Mapping[str, Any]],
    *,
    modality: str = "image",
    names: tuple[str, ...] = (EMBEDDING,),
) -> Generator[int, None, Embeddings]:
    """Embeddings of what the batches of all processes hold, the same on each, ordered by id.

    Yields the number of rows done.

    Args:
      encoder: whose mesh has devices of every process.
      batches: this process's, as many and as large as the others'; see `Encoder.embed_images`. They
        have `id` and `weight`, and a number of rows that this process's devices divide.
      modality: which tower embeds.
      names: of features of images, see `vlp.evals.features`.
    """
    assert encoder.mesh is not None
    rejects = np.zeros(_CODES, np.int32)
    put = partial(jax.make_array_from_process_local_data, batch_sharding(encoder.mesh))

    encode = encoding(modality, names)

    def begun() -> Iterator[tuple[Any, jax.Array]]:
        for batch in batches:
            np.add.at(rejects, np.asarray(batch.get("reject", ()), np.int64), 1)
            rows = jax.tree.map(put, device_images(batch[modality]))
            # Sent along with the rows: nobody need know which process's devices come first.
            ids = put(np.where(batch["weight"] > 0, batch["id"], -1).astype(np.int32))
            found = encode(encoder.graphdef, encoder.params, rows, encoder.out)
            yield found, _on_all(ids, encoder.out)

    parts, ids, done = [], [], 0
    for found, of in lagging(begun()):
        parts.append([np.asarray(each, np.float32) for each in jax.tree.leaves(found)])
        ids.append(np.asarray(of, np.int64))
        done += int((ids[-1] >= 0).sum())
        yield done
    counts = multihost_utils.process_allgather(rejects).reshape(-1, _CODES).sum(axis=0)
    order = np.argsort(all_ids := np.concatenate(ids), kind="stable")
    order = order[all_ids[order] >= 0]
    counted = Counter({code: int(n) for code, n in enumerate(counts) if code and n})
    columns = [np.concatenate(each)[order] for each in zip(*parts, strict=True)]
    found = dict(zip(names, columns, strict=True))
    return Embeddings(columns[0], all_ids[order], counted, found)


@partial(jax.jit, static_argnames="out")
def _on_all(ids: jax.Array, out: Any) -> jax.Array:
    return jax.lax.with_sharding_constraint(ids, out)
