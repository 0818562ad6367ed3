"""What jobs share that go through a data set in parts: provenance, claims, shares."""

from __future__ import annotations

import argparse
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from data_pipelines.sources.part import PartSource
from vlp.caches import use_compilation_cache
from vlp.interop.loaded import fingerprint
from vlp.interop.runs import RUN
from vlp.jobs.data_table import say_data
from vlp.parallel.together import on_first
from vlp.vectors.shards import utf8


def provenance(args: argparse.Namespace, loaded: Any, source: Any) -> dict[str, Any]:
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


def claim(store: Any, source: Any, *, role: str) -> None:
    """Makes a store this job's and says what its data hold, in the terminal and beside the store.

    Every process must call this at the same time.

    Args:
        store: has `claim()`, and `data_table`, the file for what the data hold.
        source: the data.
        role: what they are for.
    """
    use_compilation_cache()
    on_first(store.claim)
    file = None if store.data_table.exists() else store.data_table
    on_first(lambda: say_data({role: source}, file=file))


def place_of(part: PartSource, index: int) -> dict[str, Any]:
    """Where a sample of a part is: its key, its index in the whole, and the file it lies in."""
    return {
        "key": utf8(part.key(index)),
        "index": part.first + index,
        "file": utf8(part.file(index)),
    }


def own_share(missing: list[bool]) -> list[int]:
    """The places that this process works on: an even share of what the first one sees missing.

    Every process must call this at the same time.
    """
    seen = multihost_utils.broadcast_one_to_all(np.asarray(missing, np.int32))
    return np.flatnonzero(seen)[jax.process_index() :: jax.process_count()].tolist()
