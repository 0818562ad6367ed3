"""The place of a tower whose weights belong to another model."""

from typing import Any, NoReturn

from flax import nnx


class FrozenTower(nnx.Module):
    """A tower that a model is given, see `vlp.models.protocols.ReadsFrozen`: sizes, and no weights.

    Args:
        width: of the tower's tokens.
        image_size: pixels along each side.
    """

    dtype = None  # it computes nothing

    def __init__(self, *, width: int, image_size: int, rngs: nnx.Rngs):
        self.width, self.image_size = width, image_size

    def __call__(self, inputs: Any, **settings: Any) -> NoReturn:
        """Refuses: there is nothing to encode by.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            'a tower of kind "frozen" must be given before it encodes, got none; name its weights '
            "in config.frozen, or load the whole model by vlp.load"
        )
