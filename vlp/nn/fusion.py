"""BERT's blocks with a second sequence to read: where text meets image in ALBEF."""

from typing import Any

from vlp.nn.stack import Stack
from vlp.settings import handing_on


class FusionStack(Stack):
    """A stack of post-norm blocks that also read a second sequence.

    References:
        Li et al., 2021 (ALBEF), https://arxiv.org/abs/2107.07651, section 3.1.
    """

    @handing_on(Stack, leaving=("causal", "norm_order", "layer_scale"))
    def __init__(
        self,
        width: int,
        depth: int,
        *,
        context_width: int,
        norm_eps: float = 1e-12,
        **settings: Any,
    ):
        reading = dict(context_width=context_width, norm_order="post", norm_eps=norm_eps)
        super().__init__(width, depth, **reading, **settings)
