"""Any number of towers in one space: the model of ImageBind."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from flax import nnx
from jaxtyping import Array, Float

from vlp.models.base import Encoded, Model, learned_scalar
from vlp.models.towers import TOWERS, make_tower


class Bound(Model):
    """Towers of any modalities; `Bound(**model.kwargs, rngs=rngs)` builds the same again.

    Args:
        embed_dim: width of the shared space.
        pairs: which modalities are compared in training, such as "image-text"; each pair has a
            learned scale of its own, `log_scales/<pair>`.
        projection: of all towers, see `Model`.
        image_mean, image_std: per-channel normalisation of pixels in [0, 1].
        init_scale: multiplier of the cosine similarities at the start.
        trunk: the modality whose blocks serve all towers, "" for none. The others then bring only
            what enters the first block, and norm and pool behind the last: with these blocks from
            elsewhere and frozen it is a Meta-Transformer.
        **towers: by modality (`vlp.models.towers.TOWERS`), keyword arguments of its tower; None
            or nothing for one that is absent.

    Raises:
        ValueError: when a setting is unknown, a pair is of towers that are not there, or the trunk
            does not fit the other towers.

    References:
        Girdhar et al., 2023 (ImageBind), https://arxiv.org/abs/2305.05665; Zhang et al., 2023
        (Meta-Transformer), https://arxiv.org/abs/2307.10802.
    """

    def __init__(
        self,
        *,
        embed_dim: int,
        pairs: Sequence[str] = ("image-text",),
        projection: str = "linear",
        image_mean: Sequence[float] = (0.5, 0.5, 0.5),
        image_std: Sequence[float] = (0.5, 0.5, 0.5),
        init_scale: float = 1 / 0.07,
        trunk: str = "",
        rngs: nnx.Rngs,
        **towers: dict[str, Any] | None,
    ):
        if unknown := towers.keys() - TOWERS.keys():
            raise ValueError(
                f"towers must be of {', '.join(TOWERS)}, got {', '.join(sorted(unknown))}"
            )
        settings = {name: towers.get(name) for name in TOWERS}
        made = {name: make_tower(name, each, rngs=rngs) for name, each in settings.items()}
        super().__init__(
            made,
            projections=dict.fromkeys(made, projection),
            kwargs=dict(
                **settings,
                embed_dim=embed_dim,
                pairs=list(pairs),
                projection=projection,
                image_mean=list(image_mean),
                image_std=list(image_std),
                init_scale=init_scale,
                trunk=trunk,
            ),
            rngs=rngs,
        )
        _check_pairs(pairs, self.towers)
        self.log_scales = nnx.Dict({pair: learned_scalar(math.log(init_scale)) for pair in pairs})
        self.bias = None
        self.trunk = trunk
        if trunk:
            _check_trunk(trunk, self.towers)
            for name in self.towers.keys() - {trunk}:
                getattr(self, name).stack = None

    @property
    def log_scale(self) -> Any:
        """The logarithm of the scale of images and texts; None where these are not compared."""
        return self.log_scales["image-text"] if "image-text" in self.log_scales else None

    def encode(self, name: str, inputs: Any, **settings: Any) -> Encoded:
        """Embeddings and tokens of inputs of one modality, see `Model.encode`."""
        if self.trunk and name != self.trunk:
            settings["stack"] = self.towers[self.trunk].stack
        return super().encode(name, inputs, **settings)

    def hidden_states(self, name: str, inputs: Any) -> Float[Array, "states n t w"]:
        """The input of a tower's first block and the output of each.

        Raises:
            ValueError: when the tower's blocks are those of another.
        """
        if self.trunk and name != self.trunk:
            raise ValueError(
                f"the {name} tower has no blocks but those of {self.trunk}; ask for its tokens"
            )
        return super().hidden_states(name, inputs)


def _check_pairs(pairs: Sequence[str], towers: Mapping[str, Any]) -> None:
    for pair in pairs:
        both = pair.split("-")
        if len(both) != 2 or not set(both) <= set(towers):
            raise ValueError(
                f"pairs must be of two of the towers {', '.join(towers)}, such as "
                f'"image-text", got {pair!r}'
            )


def _check_trunk(trunk: str, towers: Mapping[str, Any]) -> None:
    if trunk not in towers:
        raise ValueError(f"trunk must be one of the towers {', '.join(towers)}, got {trunk!r}")
    widths = {name: tower.width for name, tower in towers.items()}
    lacking = [name for name, tower in towers.items() if getattr(tower, "stack", None) is None]
    if len(set(widths.values())) > 1 or lacking:
        raise ValueError(
            f"towers that share the blocks of {trunk} must be transformers of one width, got "
            f"{widths}" + (f"; {', '.join(lacking)} have no blocks" if lacking else "")
        )
