"""What encodes one batch: compiled functions, shared by all encoders of the same structure."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
from flax import nnx

from vlp.evals.features import EMBEDDING, features
from vlp.parallel.sharding import rows_kept


def encoding(modality: str, names: tuple[str, ...]) -> Callable[..., Any]:
    """What encodes a batch: to an array where embeddings are wanted, else to one a feature."""
    if names == (EMBEDDING,):
        return partial(encode, modality)
    return partial(encode_features, names)


@partial(jax.jit, static_argnames=("modality", "graphdef", "out"))
def encode(modality: str, graphdef: Any, params: Any, inputs: Any, out: Any) -> jax.Array:
    """Embeddings of one batch, where `out` says."""
    model = nnx.merge(graphdef, params)
    method = {"image": "encode_image", "text": "encode_text"}.get(modality)
    with rows_kept(out and out.mesh):
        encoded = getattr(model, method)(inputs) if method else model.encode(modality, inputs)
    embedding = encoded.embedding
    return embedding if out is None else jax.lax.with_sharding_constraint(embedding, out)


@partial(jax.jit, static_argnames=("names", "graphdef", "out"))
def encode_features(
    names: tuple[str, ...], graphdef: Any, params: Any, images: Any, out: Any
) -> Any:
    """Features of one batch of images, where `out` says."""
    with rows_kept(out and out.mesh):
        found = features(nnx.merge(graphdef, params), images, names)
    return found if out is None else jax.lax.with_sharding_constraint(found, out)
