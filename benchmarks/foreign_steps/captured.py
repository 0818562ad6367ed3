"""The step of a foreign trainer, taken from its own `main`, for a machine that is not here.

`main` runs as it stands up to its first step. What it would run on devices until then gives shapes
and shardings instead of arrays, so that nothing is computed; data, logs and checkpoints are left
out. The step is then traced and lowered for its mesh, as its trainer would compile it.
"""

import dataclasses
import functools
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec
from typing import Any
from unittest.mock import MagicMock

import jax
import jax.numpy as jnp
import numpy as np
from jax.interpreters.partial_eval import dce_jaxpr
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from vlp.training.flops import model_flops


@dataclasses.dataclass(frozen=True)
class Step:
    """A trainer's step.

    Attributes:
        traced: a `jax.stages.Traced`.
        mesh: over which its arguments lie.
    """

    traced: Any
    mesh: Mesh

    @property
    def flops(self) -> float:
        """Of all products that it is written as: the model's, where nothing is recomputed."""
        jaxpr, _ = dce_jaxpr(self.traced.jaxpr.jaxpr, [True] * len(self.traced.jaxpr.out_avals))
        return model_flops(jaxpr, trained=[False] * len(jaxpr.invars))


class Reached(Exception):
    """A trainer came to its step, which is `args[0]`."""


class FarJax:
    """The name `jax` in a trainer's module: as it is, but for what asks devices or runs on them.

    Args:
        devices: of the machine.
        step: name of the function that is the step.
        mesh: gives the mesh that partition specs mean, where a trainer gives no shardings.
    """

    def __init__(
        self, devices: Sequence[Any], *, step: str, mesh: Callable[[], Mesh] | None = None
    ):
        self._devices, self._step, self._mesh = list(devices), step, mesh
        self.distributed = types.SimpleNamespace(initialize=lambda: None)
        hosts = len({device.process_index for device in devices})
        self.process_count, self.process_index = lambda: hosts, lambda: 0
        self.device_count = lambda: len(devices)
        self.local_device_count = lambda: len(devices) // hosts

    def __getattr__(self, name: str) -> Any:
        return getattr(jax, name)

    def devices(self) -> list[Any]:
        """All of the machine's."""
        return self._devices

    def device_get(self, tree: Any) -> Any:
        """Zeros for what was never computed."""
        return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), tree)

    def jit(self, function: Any = None, **settings: Any) -> Any:
        """A function of which a call makes shapes; the step is raised as `Reached`."""
        if function is None:
            return functools.partial(self.jit, **settings)
        real = jax.jit(function, **settings)

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((args, kwargs))):
                return real(*args, **kwargs)
            if getattr(function, "__name__", "") == self._step:
                raise Reached(Step(real.trace(*args, **kwargs), _mesh_of((args, kwargs))))
            made = jax.eval_shape(function, *args, **kwargs)
            return placed(made, settings.get("out_shardings"), self._mesh)

        return call


def _mesh_of(tree: Any) -> Mesh:
    places = (getattr(leaf, "sharding", None) for leaf in jax.tree.leaves(tree))
    return next(place.mesh for place in places if isinstance(place, NamedSharding))


def placed(tree: Any, shardings: Any, mesh: Callable[[], Mesh] | None = None) -> Any:
    """Shapes with shardings, or specs of a mesh, given for each or for whole branches."""

    def place(sharding: Any, branch: Any) -> Any:
        if mesh is not None and not isinstance(sharding, NamedSharding):
            sharding = NamedSharding(mesh(), sharding or PartitionSpec())
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), branch
        )

    def is_one(each: Any) -> bool:
        return each is None or isinstance(each, (NamedSharding, PartitionSpec))

    return jax.tree.map(place, shardings, tree, is_leaf=is_one)


def stand_in(*names: str) -> None:
    """Lets modules be imported that are neither here nor needed for a step."""
    for name in names:
        sys.modules[name] = MagicMock(name=name)
        sys.modules[name].__version__ = "none"  # type: ignore[attr-defined]
        sys.modules[name].__spec__ = ModuleSpec(name, None)  # for who asks whether it is there


def bring_back(**gone: Any) -> None:
    """Names that JAX had when the trainers were written."""
    old = dict(tree_map=jax.tree.map, tree_leaves=jax.tree.leaves, tree_flatten=jax.tree.flatten)
    for name, value in (old | gone).items():
        if not hasattr(jax, name):
            setattr(jax, name, value)


def shard_map_as_it_was() -> None:
    """`jax.experimental.shard_map.shard_map`, for what is now `jax.shard_map`."""

    def shorter(spec: PartitionSpec) -> PartitionSpec:
        """Without axes at its end that are not divided: an output may have fewer."""
        last = max((place for place, axis in enumerate(spec) if axis is not None), default=-1)
        return PartitionSpec(*spec[: last + 1])

    def shard_map(function: Any, *, out_specs: Any, check_rep: bool = True, **rest: Any) -> Any:
        is_spec = functools.partial(_is_a, PartitionSpec)
        out_specs = jax.tree.map(shorter, out_specs, is_leaf=is_spec)
        return jax.shard_map(function, out_specs=out_specs, check_vma=check_rep, **rest)

    module = types.ModuleType("jax.experimental.shard_map")
    module.shard_map = shard_map  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module


def _is_a(kind: type, each: Any) -> bool:
    return isinstance(each, kind)


def abstract_batch(shapes: Mapping[str, tuple[Any, ...]], sharding: Any) -> dict[str, Any]:
    """Fields of a batch by name: shape, then dtype."""
    return {
        name: jax.ShapeDtypeStruct(shape, jnp.dtype(dtype), sharding=sharding)
        for name, (shape, dtype) in shapes.items()
    }


def reached(main: Callable[[], Any]) -> Step:
    """The step that a `main` comes to."""
    try:
        main()
    except Reached as step:
        return step.args[0]
    raise RuntimeError("the trainer must come to its step, and ended before")
