"""Counting the FLOPs that training a function takes, from its jaxpr."""

import math
from collections.abc import Sequence
from typing import Any


def model_flops(jaxpr: Any, *, trained: Sequence[bool]) -> float:
    """FLOPs of the matrix products and convolutions of one forward and backward pass.

    A product costs as much again in the backward pass for each operand that depends on something
    trained: three times its forward cost inside of a tower that trains, twice at its input, once in
    a frozen tower. Loops count times their length, which the compiler's own cost analysis leaves
    out, and recomputation (`jax.checkpoint`) does not count.

    Args:
        jaxpr: of the forward pass, from `jax.make_jaxpr`.
        trained: for each of its inputs, whether it gets a gradient.
    """
    flops, _ = _count(jaxpr, list(trained))
    return flops


def _count(jaxpr: Any, trained: list[bool]) -> tuple[float, list[bool]]:
    """The FLOPs, and which outputs depend on something trained."""
    jaxpr = getattr(jaxpr, "jaxpr", jaxpr)
    depends = dict(zip(jaxpr.invars, trained, strict=True))
    total = 0.0
    for eqn in jaxpr.eqns:
        inputs = [_known(depends, variable) for variable in eqn.invars]
        flops, outputs = _count_equation(eqn, inputs)
        total += flops
        depends.update(zip(eqn.outvars, outputs, strict=True))
    return total, [_known(depends, variable) for variable in jaxpr.outvars]


def _known(depends: dict[Any, bool], variable: Any) -> bool:
    return False if hasattr(variable, "val") else depends.get(variable, False)


def _count_equation(eqn: Any, inputs: list[bool]) -> tuple[float, list[bool]]:
    name, params = eqn.primitive.name, eqn.params
    everything = [any(inputs)] * len(eqn.outvars)
    if name == "dot_general":
        return _dot_flops(eqn) * (1 + sum(inputs)), everything
    if name == "conv_general_dilated":
        return _conv_flops(eqn) * (1 + sum(inputs)), everything
    if name == "scan":
        return _count_scan(eqn, inputs)
    if name == "cond":
        branches = [_count(branch, inputs[1:]) for branch in params["branches"]]
        return max(flops for flops, _ in branches), everything
    inner = [value for value in params.values() if hasattr(getattr(value, "jaxpr", value), "eqns")]
    if len(inner) == 1 and len(getattr(inner[0], "jaxpr", inner[0]).invars) == len(inputs):
        flops, outputs = _count(inner[0], inputs)
        return flops * _copies(name, params), outputs
    bodies = [getattr(body, "jaxpr", body) for body in inner]
    flops = sum((_count(body, [any(inputs)] * len(body.invars))[0] for body in bodies), 0.0)
    return flops, everything


def _count_scan(eqn: Any, inputs: list[bool]) -> tuple[float, list[bool]]:
    consts, carried = eqn.params["num_consts"], eqn.params["num_carry"]
    inputs = list(inputs)
    while True:
        flops, outputs = _count(eqn.params["jaxpr"], inputs)
        before = inputs[consts : consts + carried]
        after = [a or b for a, b in zip(before, outputs[:carried], strict=True)]
        if after == before:
            return flops * int(eqn.params["length"]), outputs
        inputs[consts : consts + carried] = after


def _copies(name: str, params: Any) -> int:
    """How often a body runs side by side: inside of `shard_map` shapes are those of one device."""
    if name != "shard_map":
        return 1
    return math.prod(params["mesh"].shape[axis] for axis in params["newly_manual_axes"])


def _dot_flops(eqn: Any) -> float:
    (contracted, _), _ = eqn.params["dimension_numbers"]
    shape = eqn.invars[0].aval.shape
    return 2.0 * math.prod(eqn.outvars[0].aval.shape) * math.prod(shape[i] for i in contracted)


def _conv_flops(eqn: Any) -> float:
    kernel = eqn.invars[1].aval.shape
    out_axis = eqn.params["dimension_numbers"].rhs_spec[0]
    return 2.0 * math.prod(eqn.outvars[0].aval.shape) * math.prod(kernel) / kernel[out_axis]
