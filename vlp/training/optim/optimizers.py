"""Optimisers by name, as gradient transformations whose learning rate is a function of the step."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from optax import contrib

from vlp.settings import check_choice
from vlp.training.optim.groups import Overrides, apply_groups, clip_by_global_norm
from vlp.training.optim.schedules import Schedule
from vlp.training.params import MATRICES, Path, by_path

# Muon orthogonalises hidden matrices only; embeddings and heads take AdamW (Jordan, 2024).
HIDDEN = ("blocks",)
MOMENTS = ("float32", "bfloat16")  # dtypes of first moments


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """A gradient transformation without learning rate, and that rate as a function of the step.

    The rate follows the step of the train state, not a counter of its own, so that a skipped update
    does not delay the schedule. The groups say at what else some parameters learn, and when.
    """

    transform: optax.GradientTransformation
    schedule: Schedule
    groups: Mapping[Path, Overrides] = dataclasses.field(default_factory=dict)

    def init(self, params: Any) -> Any:
        """The optimiser's state for these parameters."""
        return self.transform.init(params)

    def update(self, grads: Any, state: Any, params: Any, *, step: Any) -> tuple[Any, Any]:
        """What to add to the parameters at this step, and the next optimiser state."""
        transform = optax.with_extra_args_support(self.transform)
        # optax raises Python floats to integer counters, which strict promotion refuses.
        with jax.numpy_dtype_promotion("standard"):
            directions, state = transform.update(grads, state, params, step=step)
        rate = self.schedule(step)
        updates = jax.tree.map(lambda d, p: (-rate * d).astype(p.dtype), directions, params)
        return apply_groups(updates, self.groups, step=step), state


def make_optimizer(
    name: str = "adamw",
    *,
    schedule: Schedule,
    weight_decay: float = 0.0,
    clip_norm: float | None = 1.0,
    groups: Mapping[Path, Overrides] | None = None,
    **settings: Any,
) -> Optimizer:
    """The optimiser of that name.

    Args:
        name: `adamw`, `lion`, `adafactor` or `muon`.
        schedule: learning rate as a function of the step.
        weight_decay: decoupled decay of matrices, multiplied by the learning rate; biases, norms,
            positions, class token and temperature never decay.
        clip_norm: gradients are scaled down to this global L2 norm; None leaves them.
        groups: what holds for some parameters besides, from `vlp.training.optim.groups.resolve`.
        **settings: keyword arguments of the function of that name in this module.

    Raises:
        ValueError: when there is no such optimiser, or a number is out of its range.
        TypeError: when it has no such setting.
    """
    if name not in OPTIMIZERS:
        raise ValueError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, got {name}")
    numbers = {key: value for key, value in settings.items() if key != "mu_dtype"}
    _check_ranges(weight_decay=weight_decay, clip_norm=clip_norm, **numbers)
    check_choice("mu_dtype", settings.get("mu_dtype", "float32"), MOMENTS)
    groups = groups or {}
    parts = [] if clip_norm is None else [clip_by_global_norm(clip_norm, groups)]
    parts += [OPTIMIZERS[name](**settings), *_weight_decays(weight_decay, groups)]
    return Optimizer(optax.chain(*parts), schedule, groups)


def adamw(
    *, b1: float = 0.9, b2: float = 0.98, eps: float = 1e-8, mu_dtype: str = "float32"
) -> optax.GradientTransformation:
    """Adam's directions; CLIP's `b2` for vision transformers.

    Args:
        b1: decay of the first moments.
        b2: decay of the second moments, which are float32.
        eps: added to their roots.
        mu_dtype: in which the first moments are kept: "float32" or "bfloat16", which takes a
            quarter off the state (big_vision's and scaling ViT's choice).

    References: Loshchilov & Hutter, 2019, https://arxiv.org/abs/1711.05101; Radford et al., 2021,
        https://arxiv.org/abs/2103.00020, table 19.
    """
    return optax.scale_by_adam(b1=b1, b2=b2, eps=eps, mu_dtype=mu_dtype)


def lion(
    *, b1: float = 0.9, b2: float = 0.99, mu_dtype: str = "float32"
) -> optax.GradientTransformation:
    """Lion's signs; wants a learning rate 3 to 10 times lower than AdamW.

    Args:
        b1: share of the momentum in the sum whose sign is taken.
        b2: decay of the momentum.
        mu_dtype: in which it is kept: "float32" or "bfloat16", which halves the state.

    References: Chen et al., 2023, https://arxiv.org/abs/2302.06675.
    """
    return optax.scale_by_lion(b1=b1, b2=b2, mu_dtype=mu_dtype)


def adafactor(
    *,
    b1: float = 0.9,
    b2: float = 1.0,
    decay: float = 0.8,
    eps: float = 1e-30,
    clip_rms: float = 1.0,
) -> optax.GradientTransformation:
    """Adafactor's directions with momentum in bfloat16 and no relative step, as for scaling ViT.

    Args:
        b1: decay of the momentum.
        b2: upper limit of the second decay, which at update t is `1 - t ** -decay`: 0.999 for
            scaling ViT and in CoCa, 1 for none.
        decay: see there.
        eps: added to the squared gradients.
        clip_rms: root mean square that the directions of an array may have.

    References: Shazeer & Stern, 2018, https://arxiv.org/abs/1804.04235; Zhai et al., 2022,
        https://arxiv.org/abs/2106.04560, section 3.4.
    """

    def second(update: Any, exponent: Any) -> jax.Array:
        return jnp.minimum(1.0 - jnp.asarray(update + 1, jnp.float32) ** -exponent, b2)

    return optax.chain(
        optax.scale_by_factored_rms(decay_rate=decay, epsilon=eps, decay_rate_fn=second),
        optax.clip_by_block_rms(clip_rms),
        optax.ema(b1, debias=False, accumulator_dtype=jnp.bfloat16),
    )


def muon(
    *,
    b1: float = 0.9,
    b2: float = 0.98,
    eps: float = 1e-8,
    beta: float = 0.95,
    rms: float = 0.2,
    mu_dtype: str = "float32",
) -> optax.GradientTransformation:
    """Muon for the matrices of the blocks, each layer's on its own, and AdamW for all else.

    Args:
        b1: AdamW's first decay.
        b2: AdamW's second decay.
        eps: AdamW's epsilon.
        beta: Muon's momentum.
        rms: root mean square of Muon's directions, so that AdamW's learning rates carry over.
        mu_dtype: in which Muon's momentum and AdamW's first moments are kept: "float32" or
            "bfloat16".

    References: Jordan et al., 2024, https://kellerjordan.github.io/posts/muon; Liu et al., 2025,
        https://arxiv.org/abs/2502.16982, section 2.2.
    """

    def scaled(matrix: jax.Array) -> jax.Array:
        # Orthogonal matrices have a root mean square of `1 / sqrt(longer side)`.
        return matrix * (rms * max(matrix.shape[-2:]) ** 0.5)

    orthogonalised = optax.chain(
        contrib.scale_by_muon(beta=beta, mu_dtype=mu_dtype, weight_dimension_numbers=_matrix_axes),
        optax.stateless(lambda directions, _: jax.tree.map(scaled, directions)),
    )
    rest = adamw(b1=b1, b2=b2, eps=eps, mu_dtype=mu_dtype)
    return optax.partition({"muon": orthogonalised, "adamw": rest}, _muon_labels)


OPTIMIZERS: dict[str, Callable[..., optax.GradientTransformation]] = {
    "adamw": adamw,
    "lion": lion,
    "adafactor": adafactor,
    "muon": muon,
}


def _check_ranges(*, clip_norm: float | None, **settings: float) -> None:
    """Raises ValueError for numbers with which an optimiser would not go downhill."""
    if clip_norm is not None and clip_norm <= 0:
        raise ValueError(f"clip_norm must be above 0, got {clip_norm}; or None for no limit")
    for name, value in settings.items():
        most = 1.0 if name in ("b1", "b2", "beta") else math.inf
        if name == "eps" and value == 0:
            raise ValueError("eps must be above 0, got 0; where gradients are 0 it is divided by")
        if not 0 <= value <= most:
            raise ValueError(f"{name} must be from 0 to {most:g}, got {value}; leave it out")


def decays(params: Any) -> Any:
    """Whether weight decay applies, for every parameter of a nested dict."""
    return by_path(params, lambda path, _: path[-1] in MATRICES)


def _weight_decays(
    usual: float, groups: Mapping[Path, Overrides]
) -> list[optax.GradientTransformation]:
    """Decay of the matrices, one transformation for each rate but 0."""

    def at(rate: float, params: Any) -> Any:
        def has(path: Path, decays: bool) -> bool:
            own = groups.get(path, Overrides()).weight_decay
            return decays and rate == (usual if own is None else own)

        return by_path(decays(params), has)

    own = {said.weight_decay for said in groups.values() if said.weight_decay is not None}
    rates = sorted(({usual} | own) - {0})
    return [optax.add_decayed_weights(r, mask=functools.partial(at, r)) for r in rates]


def _muon_labels(params: Any) -> Any:
    def label(path: Sequence[Any], leaf: Any) -> str:
        hidden = path[-1] == "kernel" and any(part in HIDDEN for part in path) and leaf.ndim >= 2
        return "muon" if hidden else "adamw"

    return by_path(params, label)


def _matrix_axes(params: Any) -> Any:
    """The last two axes of every kernel are its matrix; the axes before count layers."""
    axes = contrib.MuonDimensionNumbers(reduction_axis=-2, output_axis=-1)
    return jax.tree.map(lambda _: axes, params)
