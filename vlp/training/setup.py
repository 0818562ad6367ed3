"""A training set up on a mesh: makes its state, runs its step, compiles it without either."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from vlp.parallel.sharding import (
    MIN_ELEMENTS,
    AnyMesh,
    batch_sharding,
    carry_shardings,
    replicated,
    shape_shardings,
    with_shardings,
)
from vlp.training.batch_statistics import statistics_paths, with_frozen_statistics
from vlp.training.flops import model_flops
from vlp.training.optim.optimizers import Optimizer
from vlp.training.params import Path, leaf_names, partition, path_name, select
from vlp.training.state import MakeCarry, MakeModel, TrainState, abstract_model, initial_state
from vlp.training.step import Loss, Step, make_mean_loss, make_train_step


@dataclasses.dataclass(frozen=True)
class Training:
    """What stays the same during a run; made by `make_training`.

    Attributes:
        step: compiled `(state, batch) -> (state, metrics)`; it takes over the memory of `state`.
        abstract: shapes and shardings of the state.
        graphdef: the model's graph definition, for `flax.nnx.merge(graphdef, state.params)`.
        mesh: where all this lives.
        gradient_names: names of the arrays behind `grad/l2_by_array`, in order.
        loss: what is minimised.
    """

    step: Any
    abstract: TrainState
    graphdef: Any
    mesh: Any
    gradient_names: tuple[str, ...]
    loss: Loss
    _seed: int
    _untrained: frozenset[Path]
    _init: Callable[[Any], TrainState]
    _compiled: Callable[[Loss], Any]

    @property
    def inputs(self) -> tuple[str, ...]:
        """What of a batch the loss asks for beyond images, texts and weights."""
        return getattr(self.loss, "inputs", ())

    def init(self, params: Any = None) -> TrainState:
        """The state at step 0, each array made where it lives.

        Args:
            params: arrays to begin with instead of random ones, a nested dict of some or all of the
                parameters (the image tower of another run, for LiT).

        Raises:
            ValueError: when `params` holds names or shapes that the model does not have.
        """
        return self._init(_placed_params(params or {}, self.abstract.params))

    def with_loss(self, loss: Loss) -> "Training":
        """The same training and state with another loss: the next stage of a run."""
        return dataclasses.replace(self, loss=loss, step=self._compiled(loss))

    def lower(
        self, batch: Mapping[str, jax.ShapeDtypeStruct], *, platforms: Sequence[str] | None = None
    ) -> Any:
        """The step lowered from shapes alone: no data, no parameters, no memory.

        Args:
            batch: shapes of the global batch, as from `abstract_batch`.
            platforms: `("tpu",)` and the like; needed for a mesh without devices.

        Returns:
            A `jax.stages.Lowered`; `.compile()` works where the mesh has devices, even far ones.
        """
        return self.trace(batch).lower(lowering_platforms=tuple(platforms) if platforms else None)

    def trace(self, batch: Mapping[str, jax.ShapeDtypeStruct]) -> Any:
        """The step traced from shapes alone, a `jax.stages.Traced`."""
        shardings = {name: batch_sharding(self.mesh) for name in batch}
        return self.step.trace(self.abstract, with_shardings(dict(batch), shardings))

    def flops(self, batch: Mapping[str, Any]) -> float:
        """The model FLOPs of one step: what forward and backward pass need, recomputation apart.

        Args:
            batch: the global batch or its shapes.
        """
        trainable, fixed = partition(self.abstract.params, self._untrained)
        mean_loss = make_mean_loss(self.loss, graphdef=self.graphdef, seed=self._seed)
        shapes = {name: jax.ShapeDtypeStruct(a.shape, a.dtype) for name, a in batch.items()}
        jaxpr = jax.make_jaxpr(mean_loss)(trainable, fixed, self.abstract, shapes)
        count = len(jax.tree.leaves(trainable))
        return model_flops(jaxpr, trained=[i < count for i in range(len(jaxpr.in_avals))])


def make_training(
    make_model: MakeModel,
    loss: Loss,
    *,
    mesh: AnyMesh,
    optimizer: Optimizer,
    seed: int = 0,
    freeze: Sequence[str] = (),
    ema_decay: float | None = None,
    ema_warmup: bool = True,
    make_carry: MakeCarry | None = None,
    fsdp_min_elements: int = MIN_ELEMENTS,
) -> Training:
    """Sets a training up on a mesh; allocates nothing and runs nothing yet.

    Args:
        make_model: from `nnx.Rngs` to the model.
        loss: an objective, `loss(model, teacher, batch, *, key, carry)`, which returns the loss per
            example `[n]`, metrics (scalars or `[n]`) and the carry.
        mesh: from `make_mesh`, or a mesh of devices that are not here.
        optimizer: from `make_optimizer`.
        seed: of the parameters and of every step's randomness.
        freeze: regular expressions over parameter names (`image/.*`) of what does not train and has
            no optimiser state; batch norms whose statistics match normalise by them in training.
        ema_decay: keep a teacher, the parameters' moving average with this decay.
        ema_warmup: let the teacher's average begin short, decay `(1 + step) / (10 + step)`.
        make_carry: from the model to what the objective carries from step to step, at the start.
            Its arrays `[k, n, ...]` are split over the mesh like batches of n.
        fsdp_min_elements: smaller arrays are not divided over the mesh's `fsdp` axis.

    Raises:
        ValueError: when a pattern of `freeze` matches no parameter, or all are frozen, or the decay
            is out of its range.
    """
    if ema_decay is not None and not 0 < ema_decay < 1:
        raise ValueError(
            f"ema_decay must be between 0 and 1, got {ema_decay}; try 0.999, or None for no average"
        )
    graphdef, shapes = abstract_model(make_model)
    frozen = select(shapes, freeze)
    moving = statistics_paths(graphdef, shapes)
    graphdef = with_frozen_statistics(graphdef, shapes, frozen=frozen)
    trainable, _ = partition(shapes, frozen | moving)
    if not jax.tree.leaves(trainable):
        raise ValueError(
            f"freeze must leave something to train, got {list(freeze)}; remove a pattern"
        )

    def init(given: Any) -> TrainState:
        return initial_state(
            make_model,
            given=given,
            # Apart from the keys of all steps, which are folded from the same seed.
            key=jax.random.fold_in(jax.random.key(seed), np.uint32(2**32 - 1)),
            optimizer=optimizer,
            frozen=frozen | moving,
            with_teacher=ema_decay is not None,
            make_carry=make_carry,
        )

    abstract = jax.eval_shape(init, {})
    shardings = dataclasses.replace(
        shape_shardings(abstract, mesh=mesh, min_elements=fsdp_min_elements),
        carry=carry_shardings(abstract.carry, mesh=mesh),
    )

    def compiled(loss: Loss) -> Any:
        step: Step = make_train_step(
            loss,
            graphdef=graphdef,
            optimizer=optimizer,
            seed=seed,
            frozen=frozen,
            moving=moving,
            ema_decay=ema_decay,
            ema_warmup=ema_warmup,
        )
        return jax.jit(
            step,
            donate_argnums=0,
            in_shardings=(shardings, batch_sharding(mesh)),
            out_shardings=(shardings, replicated(mesh)),
        )

    return Training(
        step=compiled(loss),
        abstract=with_shardings(abstract, shardings),
        graphdef=graphdef,
        mesh=mesh,
        gradient_names=tuple(leaf_names(trainable)),
        loss=loss,
        _seed=seed,
        _untrained=frozen | moving,
        _init=jax.jit(init, out_shardings=shardings),
        _compiled=compiled,
    )


def lower_train_step(
    make_model: MakeModel,
    loss: Loss,
    *,
    mesh: AnyMesh,
    batch: Mapping[str, jax.ShapeDtypeStruct],
    platforms: Sequence[str] | None = None,
    **settings: Any,
) -> Any:
    """The train step lowered for a mesh without data, parameters or memory.

    Args:
        make_model: from `nnx.Rngs` to the model.
        loss: an objective's loss.
        mesh: of devices here, of a topology that one does not have, or without devices.
        batch: shapes of the global batch, as from `abstract_batch`.
        platforms: what to lower for; needed for a mesh without devices.
        **settings: further keyword arguments of `make_training`.
    """
    training = make_training(make_model, loss, mesh=mesh, **settings)
    return training.lower(batch, platforms=platforms)


def abstract_batch(
    *, global_batch_size: int, image_size: int, text_length: int, inputs: Sequence[str] = ()
) -> dict[str, jax.ShapeDtypeStruct]:
    """The shapes of a global batch as it reaches the device.

    Args:
        global_batch_size, image_size, text_length: sizes.
        inputs: what a loss asks for beyond images, texts and weights, see `Training.inputs`.
    """
    n = global_batch_size
    asked = {name: jax.ShapeDtypeStruct((n,), jnp.int32) for name in inputs}
    return asked | {
        "image": jax.ShapeDtypeStruct((n, image_size, image_size, 3), jnp.uint8),
        "text": jax.ShapeDtypeStruct((n, text_length), jnp.int32),
        "weight": jax.ShapeDtypeStruct((n,), jnp.float32),
    }


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
