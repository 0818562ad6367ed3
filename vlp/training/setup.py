"""A training set up on a mesh: makes its state, runs its step, compiles it without either."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx, traverse_util

from vlp.models.protocols import given
from vlp.objectives import Momentum, Objective
from vlp.parallel.mesh import divisors
from vlp.parallel.sharding import (
    MIN_ELEMENTS,
    AnyMesh,
    batch_sharding,
    carry_shardings,
    replicated,
    rows_kept,
    shape_shardings,
    with_shardings,
)
from vlp.training.batch_statistics import statistics_paths, with_frozen_statistics
from vlp.training.flops import model_flops
from vlp.training.optim.optimizers import Optimizer
from vlp.training.params import join, leaf_names, partition, path_name, select
from vlp.training.state import VARIABLES, MakeModel, TrainState, abstract_model
from vlp.training.step import Recipe, logged, mean_loss, merged, train_step


@dataclasses.dataclass(frozen=True)
class Training:
    """What stays the same during a run; made by `make_training`.

    Attributes:
        recipe: what a step does.
        abstract: shapes and shardings of the state.
        frozen: parameters of the frozen models by name, or their shapes and shardings.
        mesh: where all this lives.
    """

    recipe: Recipe
    abstract: TrainState
    frozen: Mapping[str, Any]
    mesh: Any
    _init: Callable[[Any], TrainState]

    def step(self, state: TrainState, batch: Mapping[str, Any]) -> tuple[TrainState, Any]:
        """The next state and the metrics; takes over the memory of `state`, see `train_step`."""
        return self._compiled(state, batch, self.frozen)

    def loss(
        self, state: TrainState, batch: Mapping[str, Any], *, weights: str = "params"
    ) -> dict[str, Any]:
        """The loss of a batch, its terms as they are logged, and "pairs", the sum of its weights;
        nothing is updated.

        Args:
            state: the weights, and what the objective keeps besides.
            batch: the global batch.
            weights: of the state which are judged, "params" or "averaged".
        """
        return self._compiled_loss(getattr(state, weights), state, batch, self.frozen)

    @functools.cached_property
    def _compiled_loss(self) -> Any:
        state, frozen = (
            jax.tree.map(lambda leaf: leaf.sharding, tree) for tree in (self.abstract, self.frozen)
        )

        def loss(params: Any, state: TrainState, batch: Mapping[str, Any], frozen: Any) -> Any:
            with rows_kept(self.mesh):
                value, (losses, _) = mean_loss(self.recipe, params, state, batch, frozen)
            terms = logged(losses, batch["weight"])
            numbers = {name: term for name, term in terms.items() if jnp.ndim(term) == 0}
            return numbers | {"train/loss": value, "pairs": batch["weight"].sum()}

        return jax.jit(
            loss,
            in_shardings=(state.params, state, batch_sharding(self.mesh), frozen),
            out_shardings=replicated(self.mesh),
        )

    @functools.cached_property
    def _compiled(self) -> Any:
        state, frozen = (
            jax.tree.map(lambda leaf: leaf.sharding, tree) for tree in (self.abstract, self.frozen)
        )

        def step(state: TrainState, batch: Mapping[str, Any], frozen: Any) -> Any:
            with rows_kept(self.mesh):
                return train_step(self.recipe, state, batch, frozen)

        return jax.jit(
            step,
            donate_argnums=0,
            in_shardings=(state, batch_sharding(self.mesh), frozen),
            out_shardings=(state, replicated(self.mesh)),
        )

    @property
    def fields(self) -> tuple[str, ...]:
        """What the step reads of a batch."""
        return ("weight", *self.recipe.objective.fields)

    @property
    def gradient_names(self) -> tuple[str, ...]:
        """Names of the arrays behind `grad/l2_by_array`, in order."""
        recipe = self.recipe
        return tuple(
            leaf_names(partition(self.abstract.params, recipe.untrained | recipe.moving)[0])
        )

    def init(self, params: Any = None) -> TrainState:
        """The state at step 0, each array made where it lives.

        Args:
            params: arrays to begin with instead of random ones, a nested dict of some or all of the
                parameters (the image tower of another run, for LiT).

        Raises:
            ValueError: when `params` holds names or shapes that the model does not have.
        """
        return self._init(_placed_params(params or {}, self.abstract.params))

    def model(self, params: Any) -> nnx.Module:
        """The model with these parameters, and with the frozen ones that it reads."""
        model = nnx.merge(self.recipe.graphdef, params)
        return given(model, merged(self.recipe, self.frozen))

    def with_objective(self, objective: Objective) -> "Training":
        """The same training and state with another objective: the next stage of a run."""
        return dataclasses.replace(
            self, recipe=dataclasses.replace(self.recipe, objective=objective)
        )

    def with_frozen(self, frozen: Mapping[str, Any]) -> "Training":
        """The same training with the frozen models' parameters, placed as its shapes say.

        Raises:
            ValueError: when a model lacks a parameter, or has one of another name or shape.
        """
        placed = {name: _placed_params(frozen[name], like) for name, like in self.frozen.items()}
        for name, like in self.frozen.items():
            lacking = sorted(set(leaf_names(like)) - set(leaf_names(placed[name])))
            if lacking:
                raise ValueError(f"{name} must have all its parameters, lacks {lacking[0]}")
        return dataclasses.replace(self, frozen=placed)

    def lower(self, batch: Mapping[str, Any], *, platforms: Sequence[str] | None = None) -> Any:
        """The step lowered from shapes alone: no data, no parameters, no memory.

        Args:
            batch: shapes of the global batch.
            platforms: `("tpu",)` and the like; needed for a mesh without devices.

        Returns:
            A `jax.stages.Lowered`; `.compile()` works where the mesh has devices, even far ones.
        """
        return self.trace(batch).lower(lowering_platforms=tuple(platforms) if platforms else None)

    def trace(self, batch: Mapping[str, Any]) -> Any:
        """The step traced from shapes alone, a `jax.stages.Traced`."""
        shardings = jax.tree.map(lambda _: batch_sharding(self.mesh), dict(batch))
        return self._compiled.trace(
            self.abstract, with_shardings(dict(batch), shardings), self.frozen
        )

    def flops(self, batch: Mapping[str, Any]) -> float:
        """The model FLOPs of one step: what forward and backward pass need, recomputation apart.

        Args:
            batch: the global batch or its shapes.
        """
        recipe = self.recipe
        trainable, fixed = partition(self.abstract.params, recipe.untrained | recipe.moving)

        def loss(trainable: Any, fixed: Any, state: Any, batch: Any, frozen: Any) -> Any:
            return mean_loss(recipe, join(trainable, fixed), state, batch, frozen)

        shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), dict(batch))
        jaxpr = jax.make_jaxpr(loss)(trainable, fixed, self.abstract, shapes, self.frozen)
        count = len(jax.tree.leaves(trainable))
        return model_flops(jaxpr, trained=[i < count for i in range(len(jaxpr.in_avals))])


def make_training(
    make_model: MakeModel,
    objective: Objective,
    *,
    mesh: AnyMesh,
    optimizer: Optimizer,
    global_batch_size: int,
    seed: int = 0,
    freeze: Sequence[str] = (),
    ema_decay: float | None = None,
    ema_warmup: bool = True,
    frozen: Mapping[str, tuple[Any, Any]] | None = None,
    fsdp_min_elements: int = MIN_ELEMENTS,
) -> Training:
    """Sets a training up on a mesh; allocates nothing and runs nothing yet.

    Args:
        make_model: from `nnx.Rngs` to the model.
        objective: what is minimised.
        mesh: from `make_mesh`, or a mesh of devices that are not here.
        optimizer: from `make_optimizer`.
        global_batch_size: examples of a batch.
        seed: of the parameters and of every step's randomness.
        freeze: regular expressions over parameter names (`image/.*`) of what does not train and has
            no optimiser state; batch norms whose statistics match normalise by them in training.
        ema_decay: keep an average of the parameters with this decay, to be evaluated.
        ema_warmup: let that average begin short, decay `(1 + step) / (10 + step)`.
        frozen: graph definition and parameters' shapes of other models by name, for the objective.
        fsdp_min_elements: smaller arrays are not divided over the mesh's `fsdp` axis.

    Raises:
        ValueError: when a pattern of `freeze` matches no parameter, or all are frozen, or the decay
            of an average is out of its range, or the mesh's axis `tensor` does not divide heads.
    """
    average = None if ema_decay is None else Momentum(ema_decay, ema_warmup)
    _check_decay("ema_decay", average)
    _check_decay("momentum_decay", objective.momentum)
    graphdef, shapes = abstract_model(make_model)
    _check_heads(nnx.merge(graphdef, shapes), mesh.shape["tensor"])
    untrained, moving = select(shapes, freeze), statistics_paths(graphdef, shapes)
    if not jax.tree.leaves(partition(shapes, untrained | moving)[0]):
        raise ValueError(
            f"freeze must leave something to train, got {list(freeze)}; remove a pattern"
        )
    # Apart from the keys of all steps, which are folded from the same seed.
    key = jax.random.fold_in(jax.random.key(seed), np.uint32(2**32 - 1))

    def init(given: Any) -> TrainState:
        model = make_model(nnx.Rngs(key))
        params = join(nnx.to_pure_dict(nnx.split(model, VARIABLES, ...)[1]), given)

        def copy(average: Momentum | None) -> Any:
            return average and jax.tree.map(jnp.copy, params)

        return TrainState(
            step=jnp.zeros((), jnp.int32),
            params=params,
            opt_state=optimizer.init(partition(params, untrained | moving)[0]),
            momentum=copy(objective.momentum),
            averaged=copy(average),
            carry=objective.make_carry(model, global_batch_size=global_batch_size),
        )

    def sharded(tree: Any) -> Any:
        return shape_shardings(tree, mesh=mesh, min_elements=fsdp_min_elements)

    abstract = jax.eval_shape(init, {})
    carry = carry_shardings(abstract.carry, mesh=mesh)
    shardings = dataclasses.replace(sharded(abstract), carry=carry)
    foreign = dict(frozen or {})
    others = {name: shapes for name, (_, shapes) in foreign.items()}
    recipe = Recipe(
        graphdef=with_frozen_statistics(graphdef, shapes, frozen=untrained),
        objective=objective,
        optimizer=optimizer,
        seed=seed,
        untrained=untrained,
        moving=moving,
        average=average,
        # Batch norms of others normalise as in evaluation.
        foreign={
            name: with_frozen_statistics(*model, frozen=statistics_paths(*model))
            for name, model in foreign.items()
        },
    )
    return Training(
        recipe=recipe,
        abstract=with_shardings(abstract, shardings),
        frozen=with_shardings(others, sharded(others)),
        mesh=mesh,
        _init=jax.jit(init, out_shardings=shardings),
    )


def _check_decay(name: str, average: Momentum | None) -> None:
    if average is not None and not 0 < average.decay < 1:
        raise ValueError(f"{name} must be between 0 and 1, got {average.decay}; try 0.999")


def _check_heads(model: nnx.Module, tensor: int) -> None:
    """Raises ValueError when some attention has heads that the axis `tensor` does not divide."""
    for path, module in nnx.iter_modules(model):
        heads = getattr(module, "num_heads", tensor)
        if heads % tensor:
            raise ValueError(
                f"mesh axis tensor must divide the heads of every attention, got {tensor} for the "
                f"{heads} of {path_name(path)}; try {divisors(heads)}"
            )


def _placed_params(given: Any, abstract: Any) -> Any:
    """Given parameters on the mesh, after comparing their names and shapes with the model's."""
    known = traverse_util.flatten_dict(abstract)
    placed = {}
    for path, value in traverse_util.flatten_dict(given).items():
        name, want = path_name(path), known.get(path)
        if want is None:
            raise ValueError(
                f"given parameters must be the model's, got {name}; the model's names begin with "
                f"{', '.join(sorted({str(p[0]) for p in known}))}"
            )
        if tuple(np.shape(value)) != want.shape:
            raise ValueError(
                f"given parameters must have the model's shapes, got {tuple(np.shape(value))} for "
                f"{name}, which has {want.shape}; set the model up as it was for those weights"
            )
        placed[path] = jax.device_put(np.asarray(value, want.dtype), want.sharding)
    return traverse_util.unflatten_dict(placed)
