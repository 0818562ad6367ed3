"""Groups of parameters that learn in a way of their own: slower, later, or with another decay."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import traverse_util

from vlp.training.optim.layers import layers_behind
from vlp.training.params import MATRICES, Path, by_path, select


@dataclasses.dataclass(frozen=True, kw_only=True)
class Group:
    """What holds for the parameters of some names in place of what the optimiser says for all.

    Args:
        pattern: regular expressions over whole parameter names, such as `image/.*`.
        multiplier: of the learning rate, above 0.
        layer_decay: in (0, 1]; multiplies the learning rate as often as `layers.layers_behind` says
            there are layers behind a parameter, for each layer of a stack on its own.
        weight_decay: of the matrices in the group, as in `make_optimizer`.
        frozen_until: the step before which neither gradient nor decay moves the group. Its
            gradients are computed all the same, and the optimiser's moments follow them, so that
            none begins at 0 when it is released; they do not count in the norm that clips the rest.

    Raises:
        ValueError: when nothing is set, or a number is out of its range.
    """

    pattern: str | tuple[str, ...]
    multiplier: float | None = None
    layer_decay: float | None = None
    weight_decay: float | None = None
    frozen_until: int | None = None

    def __post_init__(self) -> None:
        if not self.settings:
            names = ", ".join(field.name for field in dataclasses.fields(self)[1:])
            raise ValueError(f"a group must set one of {names}, got none; set one or remove it")
        for name, (rule, holds) in _RULES.items():
            value = getattr(self, name)
            if value is not None and not (holds(value) and math.isfinite(value)):
                raise ValueError(f"{name} must be {rule}, got {value}; or leave it out")

    @property
    def settings(self) -> dict[str, Any]:
        """What is set, but the pattern."""
        values = {name: value for name, value in vars(self).items() if name != "pattern"}
        return {name: value for name, value in values.items() if value is not None}

    def paths(self, params: Any) -> frozenset[Path]:
        """The parameters whose names match.

        Raises:
            ValueError: when one of the patterns matches none.
        """
        return select(params, (self.pattern,) if isinstance(self.pattern, str) else self.pattern)


_RULES = {
    "multiplier": ("above 0", lambda value: value > 0),
    "layer_decay": ("above 0 and at most 1", lambda value: 0 < value <= 1),
    "weight_decay": ("at least 0", lambda value: value >= 0),
    "frozen_until": ("at least 0", lambda value: value >= 0),
}


class Overrides(NamedTuple):
    """What all groups together say of one parameter.

    Attributes:
        multiplier: of the learning rate; for stacked blocks `[depth, 1, ...]`.
        weight_decay: or None for the optimiser's.
        frozen_until: the first step that moves it.
    """

    multiplier: float | np.ndarray = 1.0
    weight_decay: float | None = None
    frozen_until: int = 0


def resolve(
    groups: Mapping[str, Group], params: Any, *, untrained: frozenset[Path] = frozenset()
) -> dict[Path, Overrides]:
    """What holds for each parameter of a group that trains.

    Args:
        groups: by name; where several say the same of a parameter, the last one holds.
        params: all of the model's parameters, or their shapes, a nested dict.
        untrained: the paths of those that do not train.

    Raises:
        ValueError: when a pattern matches nothing, or a group has a setting without an effect.
    """
    flat = traverse_util.flatten_dict(params)
    layers = layers_behind(flat)
    said: dict[Path, dict[str, Any]] = {}
    for name, group in groups.items():
        try:
            paths = group.paths(params) - untrained
            _check_effect(group, paths, layers)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        for path in paths:
            said[path] = said.get(path, {}) | group.settings
    own = {}
    for path, given in said.items():
        rate = given.get("multiplier", 1.0) * given.get("layer_decay", 1.0) ** layers[path]
        rate = rate.astype(np.float32) if isinstance(rate, np.ndarray) else rate
        own[path] = Overrides(rate, given.get("weight_decay"), given.get("frozen_until", 0))
    return own


def _check_effect(group: Group, paths: frozenset[Path], layers: Mapping[Path, Any]) -> None:
    if not paths:
        raise ValueError(
            f"a group must have parameters that train, got {group.pattern!r}, all of which are "
            "frozen; remove the group, or freeze less"
        )
    if group.weight_decay is not None and not any(path[-1] in MATRICES for path in paths):
        raise ValueError(
            f"a group with weight_decay must have matrices ({', '.join(MATRICES)}), for nothing "
            f"else decays, got {group.pattern!r}; leave weight_decay out"
        )
    if group.layer_decay is not None and not any(np.any(layers[path]) for path in paths):
        raise ValueError(
            f"a group with layer_decay must have blocks, or what is before them, got "
            f"{group.pattern!r}; set multiplier instead"
        )


def apply_groups(updates: Any, groups: Mapping[Path, Overrides], *, step: Any) -> Any:
    """The updates of the groups at their own rates, and without those of what is still frozen."""

    def own(path: Path, update: jax.Array) -> jax.Array:
        said = groups.get(path, Overrides())
        moved = jnp.asarray(said.multiplier * update, update.dtype)
        # Minus zero: all else would change the bits of a parameter that is minus zero.
        return jnp.where(step < said.frozen_until, -0.0, moved) if said.frozen_until else moved

    return by_path(updates, own) if groups else updates


def clip_by_global_norm(
    most: float, groups: Mapping[Path, Overrides]
) -> optax.GradientTransformation:
    """As optax's, but what is frozen is clipped by itself and so leaves the rest as it is."""
    clip = optax.clip_by_global_norm(most)

    def update(
        grads: Any, state: Any, params: Any = None, *, step: Any, **_: Any
    ) -> tuple[Any, Any]:
        def clipped(*, frozen: bool) -> Any:
            def part(path: Path, grad: jax.Array) -> jax.Array:
                until = groups.get(path, Overrides()).frozen_until
                return jnp.where((step < until) == frozen, grad, 0.0)

            return clip.update(by_path(grads, part), state)[0]

        return jax.tree.map(jnp.add, clipped(frozen=False), clipped(frozen=True)), state

    if not any(own.frozen_until for own in groups.values()):
        return clip
    return optax.GradientTransformationExtraArgs(clip.init, update)
