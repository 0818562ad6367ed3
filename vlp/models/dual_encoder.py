"""Two towers into one embedding space: the model of CLIP and SigLIP."""

from vlp.models.base import PairModel


class DualEncoder(PairModel):
    """An image and a text tower; `DualEncoder(**model.kwargs, rngs=rngs)` builds it again.

    References:
        Radford et al., 2021, https://arxiv.org/abs/2103.00020; Zhai et al., 2023,
        https://arxiv.org/abs/2303.15343.
    """
