"""The ways to write captions, by name and settings, as one function that compiles once."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Int

from vlp.generation.beam import beam
from vlp.generation.contract import Captions, check_writes
from vlp.generation.greedy import greedy
from vlp.generation.nucleus import nucleus
from vlp.settings import check_choice

METHODS: dict[str, Callable[..., Captions]] = {"greedy": greedy, "beam": beam, "nucleus": nucleus}


@dataclasses.dataclass(frozen=True)
class Method:
    """A way to write captions; equal ones are compiled once.

    Attributes:
        name: one of `METHODS`.
        settings: its keyword arguments and their values, the defaults included.
        seed: of what is drawn.
    """

    name: str
    settings: tuple[tuple[str, Any], ...]
    seed: int = 0

    @classmethod
    def of(cls, name: str, *, seed: int = 0, **settings: Any) -> "Method":
        """The method of that name.

        Raises:
            ValueError: when there is none, it has no such setting, or the seed is out of range.
        """
        check_choice("method", name, METHODS)
        defaults = settings_of(name)
        unknown = sorted(settings.keys() - defaults.keys())
        if unknown:
            raise ValueError(
                f"{unknown[0]} is no setting of {name}, which has {', '.join(defaults)}; leave "
                "it out, or choose another method"
            )
        if not 0 <= seed < 2**32:
            raise ValueError(f"seed must be 0 to 2^32 - 1, got {seed}")
        return cls(name, tuple((defaults | settings).items()), seed)

    def check(self, model: Any) -> None:
        """Raises ValueError where a model of images of one size cannot write so; only traces it."""
        check_writes(model)
        graphdef, params = nnx.split(model)
        size = model.image.image_size

        def write(params: Any, images: Any, ids: Any) -> Captions:
            merged: Any = nnx.merge(graphdef, params)
            return self(merged, merged.encode_image(images), ids)

        images = jax.ShapeDtypeStruct((1, size, size, 3), jnp.uint8)
        jax.eval_shape(write, params, images, jax.ShapeDtypeStruct((1,), jnp.int32))

    def __call__(self, model: Any, image: Any, ids: Int[Array, " n"]) -> Captions:
        """Captions of encoded images.

        Args:
            model: see `vlp.models.protocols.WritesCaptions`.
            image: `encode_image(...)`.
            ids: a number an image, from which what is drawn for it follows, with the seed.
        """
        settings = dict(self.settings)
        if self.name == "nucleus":
            key = jax.random.key(self.seed)
            settings["keys"] = jax.vmap(lambda i: jax.random.fold_in(key, i))(ids)
        return METHODS[self.name](model, image, **settings)

    def written(self, ids: Int[np.ndarray, "n l"]) -> Int[np.ndarray, "n k"]:
        """What stands behind the first token and the prefix of each row."""
        return ids[:, 1 + len(dict(self.settings)["prefix"]) :]


def settings_of(name: str) -> dict[str, Any]:
    """The settings of a method that have defaults, with these."""
    parameters = inspect.signature(METHODS[name]).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}
