"""Embeds a data set of which each process loads its own share."""

from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from vlp.evals.embed import Embeddings, Encoder, few, lagging, placed
from vlp.evals.encoding import encoding
from vlp.evals.features import EMBEDDING
from vlp.models.naflex import device_images
from vlp.parallel.mesh import batch_parts

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
    own_parts = batch_parts(encoder.mesh) // encoder.processes

    encode = encoding(modality, names)

    def begun() -> Iterator[tuple[Any, jax.Array]]:
        for batch in batches:
            np.add.at(rejects, np.asarray(batch.get("reject", ()), np.int64), 1)
            # Sent along with the rows: nobody need know which process's devices come first.
            ids = np.where(batch["weight"] > 0, batch["id"], -1).astype(np.int32)
            for part, of in few((device_images(batch[modality]), ids), parts=own_parts):
                rows = jax.tree.map(encoder.put_own, part)
                found = encode(encoder.graphdef, encoder.params, rows, encoder.out)
                yield found, _on_all(encoder.put_own(of), encoder.out)

    parts: deque[list[np.ndarray]] = deque()
    ids, done = [], 0
    for found, of in lagging(begun()):
        parts.append([np.asarray(each, np.float32) for each in jax.tree.leaves(found)])
        ids.append(np.asarray(of, np.int64))
        done += int((ids[-1] >= 0).sum())
        yield done
    counts = multihost_utils.process_allgather(rejects).reshape(-1, _CODES).sum(axis=0)
    order = np.argsort(all_ids := np.concatenate(ids), kind="stable")
    order = order[all_ids[order] >= 0]
    places = np.full(len(all_ids), -1)
    places[order] = np.arange(len(order))
    counted = Counter({code: int(n) for code, n in enumerate(counts) if code and n})
    features = dict(zip(names, placed(parts, places), strict=True))
    return Embeddings(features[names[0]], all_ids[order], counted, features)


@partial(jax.jit, static_argnames="out")
def _on_all(ids: jax.Array, out: Any) -> jax.Array:
    return jax.lax.with_sharding_constraint(ids, out)
