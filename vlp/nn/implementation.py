"""Which implementation of attention a layer takes, on which devices."""

import functools
import logging
from typing import NamedTuple

from vlp.nn.edges import in_parts, platform
from vlp.settings import check_choice

IMPLEMENTATIONS = ("auto", "einsum", "xla", "cudnn", "splash")
# The platform of those that are for one.
PLATFORMS = {"cudnn": "gpu", "splash": "tpu"}
LOW = ("bfloat16", "float16")
_WIDEST = 128  # head width that cuDNN takes in training on every GPU

_log = logging.getLogger("vlp")


class Needs(NamedTuple):
    """What a call of attention is about.

    Attributes:
        queries: of a sequence.
        head_width: of queries, keys and values.
        dtype: of them.
        pairs: whether its mask says for each query what it sees.
        bias: whether there is one.
    """

    queries: int
    head_width: int
    dtype: str
    pairs: bool = False
    bias: bool = False


def chosen(implementation: str, needs: Needs) -> str:
    """The implementation that a layer takes: "einsum" where the one it was given cannot do it.

    "auto" takes "cudnn" on GPUs, for operands of two bytes, and "einsum" on CPUs and TPUs: at the
    lengths of images and captions "splash" saves no memory there, see
    benchmarks/results/attention.md. Where it is another's name that cannot do it, a line of the log
    says so, once. A single query leaves nothing to save for any of them.
    """
    if implementation in ("auto", *PLATFORMS) and needs.queries == 1:
        return "einsum"
    if implementation == "auto":
        obstacle = _obstacle("cudnn", needs)
        if platform() == "gpu" and in_parts():
            _say(f'attention "auto" takes "einsum": "cudnn" {obstacle}')
        return "einsum" if obstacle else "cudnn"
    if obstacle := _obstacle(implementation, needs):
        _say(f'attention "{implementation}" {obstacle}: "einsum" takes its place there')
        return "einsum"
    return implementation


def _obstacle(implementation: str, needs: Needs) -> str:
    """Why an implementation cannot do what is needed; empty where it can."""
    own = PLATFORMS.get(implementation)
    if own not in (None, platform()):
        return f"is for {own.upper()}s, not for {platform()}"
    if own and in_parts():
        return "takes no micro-batches on a mesh"  # it does not say that its gradients differ there
    if implementation == "splash" and (needs.pairs or needs.bias):
        return f"takes no {'bias' if needs.bias else 'mask of pairs'}"
    if implementation != "cudnn":
        return ""
    if needs.dtype not in LOW:
        return f"is for {' and '.join(LOW)}, not for {needs.dtype}"
    if needs.head_width % 8 or needs.head_width > _WIDEST:
        return f"is for heads of 8, 16, ... {_WIDEST} numbers, not for {needs.head_width}"
    return ""


@functools.cache
def _say(line: str) -> None:
    _log.warning(line)


def check_implementation(implementation: str, *, dtype: str) -> None:
    """Raises ValueError when there is no such attention implementation, or not for this dtype."""
    check_choice("attention", implementation, IMPLEMENTATIONS)
    if implementation == "cudnn" and dtype not in LOW:
        raise ValueError(
            f'attention "cudnn" needs a dtype of {", ".join(LOW)}, got {dtype}; set '
            'model.precision=bfloat16, or attention to "auto"'
        )
