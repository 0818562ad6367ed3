"""A contrastive loss over the global batch, however that batch is spread over devices."""

from collections.abc import Callable

from jax.sharding import Mesh

from vlp.losses import sigmoid_loss, softmax_loss

KINDS = {"softmax": softmax_loss, "sigmoid": sigmoid_loss}


def contrastive_loss(
    kind: str, *, mesh: Mesh | None = None, implementation: str = "auto"
) -> Callable:
    """A function with the signature of `softmax_loss` or `sigmoid_loss` over global arrays.

    Raises:
        ValueError: when the kind is unknown.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    return KINDS[kind]
