"""An image tower that tells labels: the model of CatLIP."""

from typing import Any

from flax import nnx
from jaxtyping import Array, Float

from vlp.models.base import Encoded, PairModel
from vlp.nn.linear import Linear
from vlp.settings import handing_on


class Tagger(PairModel):
    """An image tower and a logit a label; `Tagger(**model.kwargs, rngs=rngs)` builds it again.

    Its embedding is what the tower pools, at length 1.

    Args:
        image: keyword arguments of the image tower, see `PairModel`.
        num_labels: how many labels there are.
        text: None: labels come without words.
        **settings: further keyword arguments of `PairModel`.

    Raises:
        ValueError: when there is a text tower or no label, or as `PairModel`.

    References:
        Mehta et al., 2024 (CatLIP), https://arxiv.org/abs/2404.15653.
    """

    @handing_on(PairModel)
    def __init__(
        self,
        *,
        image: dict[str, Any],
        num_labels: int,
        text: dict[str, Any] | None = None,
        rngs: nnx.Rngs,
        **settings: Any,
    ):
        if text is not None:
            raise ValueError(f"a model that tells labels has no text tower, got {text}; give None")
        if num_labels < 1:
            raise ValueError(
                f"num_labels must be at least 1, got {num_labels}; give the lines of vocabulary.txt"
            )
        super().__init__(image=image, text=None, rngs=rngs, **settings)
        self._remember(num_labels=num_labels)
        self.label_head = Linear(self.image.width, num_labels, std=0.02, rngs=rngs)

    def tell_labels(self, image: Encoded) -> Float[Array, "n k"]:
        """The logit of each label; see `TellsLabels`."""
        return self.label_head(image.pooled).astype("float32")
