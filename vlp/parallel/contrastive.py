"""A contrastive loss over the global batch, however that batch is spread over devices."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float

from vlp.losses import sigmoid_loss, softmax_loss
from vlp.losses.gathered import gathered_sigmoid_loss, gathered_softmax_loss
from vlp.losses.sharded import DEFAULT_TILE, ring_sigmoid_loss, ring_softmax_loss
from vlp.losses.similarity import SIMILARITIES, Embeddings, replaced, vectors
from vlp.nn.linear import DTYPES
from vlp.parallel.mesh import BATCH_AXES, batch_axes, check_divides
from vlp.settings import check_choice

KINDS: dict[str, dict[str, Callable[..., Float[Array, " n"]]]] = {
    "softmax": {
        "dense": softmax_loss,
        "gathered": gathered_softmax_loss,
        "ring": ring_softmax_loss,
    },
    "sigmoid": {
        "dense": sigmoid_loss,
        "gathered": gathered_sigmoid_loss,
        "ring": ring_sigmoid_loss,
    },
}
IMPLEMENTATIONS = ("auto", "dense", "gathered", "ring")
GATHERED_BYTES = 2**28


def contrastive_loss(
    kind: str,
    *,
    mesh: Mesh | None = None,
    implementation: str = "auto",
    tile: int = DEFAULT_TILE,
    operands: str = "model",
) -> Callable[..., Float[Array, " n"]]:
    """A function with the signature of the dense loss and `dtype`, over global arrays.

    Of several positives the forms other than "dense" take groups, `[n]`; of the similarities "ring"
    takes the names.

    Args:
        kind: "softmax" (CLIP) or "sigmoid" (SigLIP).
        mesh: the batch is taken to be split over its axes "data" and "fsdp"; None means one device.
        implementation: "dense" leaves the N x N logits to the compiler; "gathered" brings all
            texts to every device, which holds N / devices rows of the logits; "ring" never holds
            more than one tile of them. "auto" takes dense where nothing is split, else gathered
            while a device's rows take at most 256 MiB (32,768 pairs over 16 devices), else ring.
        tile: rows and columns of a tile of the ring; fewer, if each image or text has several
            vectors, so that it holds as many inner products.
        operands: dtype in which embeddings travel and are multiplied; sums are float32. "model"
            is what the towers compute in: the function's `dtype`, "float32" where none is given.

    Raises:
        ValueError: when the kind, implementation or dtype is unknown, the mesh has no batch axis
            to go along, or the tile is under 1; the returned function raises it when the batch
            does not divide by the devices, or the form takes no such positives or similarity.
    """
    check_choice("kind", kind, KINDS)
    check_choice("implementation", implementation, IMPLEMENTATIONS)
    check_choice("operands", operands, ("model", *DTYPES))
    if tile < 1:
        raise ValueError(f"tile must be at least 1, got {tile}")
    axes, shards = batch_axes(mesh)
    if implementation in ("gathered", "ring") and not axes:
        raise ValueError(
            f"implementation {implementation!r} needs a mesh with an axis "
            f"{' or '.join(BATCH_AXES)}, got {mesh}; use 'auto'"
        )

    def loss(
        zimg, ztxt, *, dtype=None, weight=None, similarity="dot", positives=None, **parameters
    ):
        if multiplied := dtype if operands == "model" else operands:
            zimg, ztxt = (replaced(z, vectors(z).astype(multiplied)) for z in (zimg, ztxt))
        n = vectors(zimg).shape[0]
        products = _vectors_each(zimg) * _vectors_each(ztxt)
        chosen = implementation
        if chosen == "auto":
            chosen = _choose(n, shards, bytes_each=4 * products)
        function = functools.partial(KINDS[kind][chosen], similarity=similarity)
        if chosen == "dense" or mesh is None:
            return function(zimg, ztxt, weight=weight, positives=positives, **parameters)
        check_divides(n, shards)
        _check_taken(chosen, similarity, positives)
        if chosen == "ring":
            function = functools.partial(function, tile=max(1, tile // math.isqrt(products)))
        rows = dict(zimg=zimg, ztxt=ztxt, weight=weight, positives=positives)
        return over_mesh(function, mesh)(rows, parameters)

    return loss


def _vectors_each(z: Embeddings) -> int:
    return math.prod(vectors(z).shape[1:-1])


def _choose(n: int, shards: int, *, bytes_each: int) -> str:
    if shards == 1:
        return "dense"
    return "gathered" if bytes_each * n * n // shards <= GATHERED_BYTES else "ring"


def over_mesh(function: Callable, mesh: Mesh) -> Callable[[Any, Any], Float[Array, " n"]]:
    """The loss of one shard as one of global arrays: those that are split, and those that are not.

    Args:
        function: takes both by name, and `axis_name`.
        mesh: over whose batch axes they are split.
    """
    axes, _ = batch_axes(mesh)
    split = PartitionSpec(axes)

    def shard(rows: Any, everywhere: Any) -> Float[Array, " n"]:
        return function(**rows, **everywhere, axis_name=axes)

    return jax.shard_map(shard, mesh=mesh, in_specs=(split, PartitionSpec()), out_specs=split)


def _check_taken(form: str, similarity: Any, positives: Any) -> None:
    if positives is not None and positives.ndim != 1:
        raise ValueError(
            f"positives of the {form!r} form must be groups [n], got {positives.shape}; number "
            "the groups, or set implementation to 'dense'"
        )
    if form == "ring" and not isinstance(similarity, str):
        raise ValueError(
            f"similarity of the 'ring' form must be one of {', '.join(SIMILARITIES)}, got a "
            "function; set implementation to 'gathered' or 'dense'"
        )
