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
OPERANDS = ("model", *DTYPES)
# Of a device's logits, up to which they are made at once; on one device there is no exchange to
# spare, and the ring recomputes them.
GATHERED_BYTES, DENSE_BYTES = 2**28, 2**30


def contrastive_loss(
    kind: str,
    *,
    mesh: Mesh | None = None,
    implementation: str = "auto",
    tile: int = DEFAULT_TILE,
    operands: str = "model",
    sums: str = "float32",
) -> Callable[..., Float[Array, " n"]]:
    """A function with the signature of the dense loss and `dtype`, over global arrays.

    Of several positives the forms other than "dense" take groups, `[n]`; of the similarities "ring"
    takes the names.

    Args:
        kind: "softmax" (CLIP) or "sigmoid" (SigLIP).
        mesh: the batch is taken to be split over its axes "data" and "fsdp"; None means one device.
        implementation: "dense" leaves the N x N logits to the compiler; "gathered" brings all
            texts to every device, which holds N / devices rows of the logits; "ring" never holds
            more than one tile of them. "auto" takes gathered while a device's rows take at most
            256 MiB (32,768 pairs over 16 devices), else ring; where nothing is split, dense up to
            1 GiB (16,384 pairs), else ring, if that takes the similarity and the positives.
        tile: rows and columns of a tile of the ring; fewer, if each image or text has several
            vectors, so that it holds as many inner products.
        operands: dtype in which embeddings travel and are multiplied; sums are float32. "model"
            is what the towers compute in: the function's `dtype`, "float32" where none is given.
        sums: dtype in which the gradients of texts travel around the ring; "bfloat16" rounds them
            once a device and takes an eighth to two fifths off its memory.

    Raises:
        ValueError: when the kind, implementation or dtype is unknown, the mesh has no batch axis
            to go along, or the tile is under 1; the returned function raises it when the batch
            does not divide by the devices, or the form takes no such positives or similarity.
    """
    check_choice("kind", kind, KINDS)
    check_choice("implementation", implementation, IMPLEMENTATIONS)
    check_choice("operands", operands, OPERANDS)
    check_choice("sums", sums, DTYPES)
    if tile < 1:
        raise ValueError(f"tile must be at least 1, got {tile}")
    axes, shards = batch_axes(mesh)
    if implementation == "gathered" and not axes:
        raise ValueError(
            f"implementation {implementation!r} needs a mesh with an axis "
            f"{' or '.join(BATCH_AXES)}, got {mesh}; use 'auto'"
        )

    def loss(
        zimg, ztxt, *, dtype=None, weight=None, similarity="dot", positives=None, **parameters
    ):
        zimg, ztxt = as_operands((zimg, ztxt), operands=operands, dtype=dtype)
        n = vectors(zimg).shape[0]
        products = _vectors_each(zimg) * _vectors_each(ztxt)
        chosen = implementation
        if chosen == "auto":
            chosen = _choose(n, shards, bytes_each=4 * products)
            if shards == 1 and not _takes("ring", similarity, positives):
                chosen = "dense"
        function = functools.partial(KINDS[kind][chosen], similarity=similarity)
        rows = dict(zimg=zimg, ztxt=ztxt, weight=weight, positives=positives)
        if chosen == "dense":
            return function(**rows, **parameters)
        check_divides(n, shards)
        _check_taken(chosen, similarity, positives)
        if chosen == "ring":
            fewer = max(1, tile // math.isqrt(products))
            function = functools.partial(function, tile=fewer, sums=sums)
        if mesh is None or not axes:
            return function(**rows, **parameters, axis_name=None)
        return over_mesh(function, mesh)(rows, parameters)

    return loss


def as_operands(
    embeddings: tuple[Any, ...], *, operands: str, dtype: str | None
) -> tuple[Any, ...]:
    """Embeddings in the dtype in which they are to be multiplied.

    Args:
        embeddings: each of a width of its own.
        operands: it, or "model" for the model's.
        dtype: the model's; None leaves them as they are.
    """
    dtype = dtype if operands == "model" else operands
    if dtype is None:
        return embeddings
    return tuple(replaced(z, vectors(z).astype(dtype)) for z in embeddings)


def _vectors_each(z: Embeddings) -> int:
    return math.prod(vectors(z).shape[1:-1])


def _choose(n: int, shards: int, *, bytes_each: int) -> str:
    at_once, most = ("dense", DENSE_BYTES) if shards == 1 else ("gathered", GATHERED_BYTES)
    return at_once if bytes_each * n * n // shards <= most else "ring"


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
    if _takes(form, similarity, positives):
        return
    if positives is not None and positives.ndim != 1:
        raise ValueError(
            f"positives of the {form!r} form must be groups [n], got {positives.shape}; number "
            "the groups, or set implementation to 'dense'"
        )
    raise ValueError(
        f"similarity of the 'ring' form must be one of {', '.join(SIMILARITIES)}, got a "
        "function; set implementation to 'gathered' or 'dense'"
    )


def _takes(form: str, similarity: Any, positives: Any) -> bool:
    """Whether a form other than "dense" takes these."""
    by_groups = positives is None or positives.ndim == 1
    return by_groups and (form != "ring" or isinstance(similarity, str))
