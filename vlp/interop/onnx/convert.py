"""From a JAX function to an ONNX model, by way of what JAX traces.

A trace of an encoder has some thirty kinds of operations. Each is written with basic ONNX
operators; loops over layers are unrolled and everything that does not depend on an input is
computed here, so that the model holds finished matrices.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import onnx
from jax.extend.core import Literal

from vlp.interop.onnx import arithmetic, contraction, movement
from vlp.interop.onnx.arithmetic import Value
from vlp.interop.onnx.graph import Graph, tensor_kind

# Of values with axes that are left to broadcasting, too.
BROADCAST: dict[str, Callable[..., Any]] = {
    **{name: arithmetic.binary for name in arithmetic.BINARY},
    **{name: arithmetic.unary for name in arithmetic.UNARY},
    **{name: lambda graph, eqn, x: x for name in ("copy", "stop_gradient")},
    "broadcast_in_dim": movement.broadcast_in_dim,
    "convert_element_type": arithmetic.cast,
    "dim_as_value": movement.dimension,
    "div": arithmetic.divide,
    "erf": arithmetic.error_function,
    "expand_dims": movement.expand_dims,
    "gather": movement.gather,
    "integer_pow": arithmetic.power,
    "iota": movement.iota,
    "max": arithmetic.maximum,
    "mul": arithmetic.multiply,
    "ne": arithmetic.differs,
    "rsqrt": arithmetic.reciprocal_root,
    "select_n": arithmetic.select,
    "square": arithmetic.power,
    "squeeze": movement.squeeze,
    "transpose": lambda graph, eqn, x: movement.transposed(graph, x, eqn.params["permutation"]),
}
# Of values at their whole shape.
WHOLE: dict[str, Callable[..., Any]] = {
    **{name: contraction.reduction for name in contraction.REDUCTIONS},
    "argmax": contraction.argmax,
    "concatenate": movement.concatenate,
    "conv_general_dilated": contraction.convolution,
    "dot_general": contraction.dot,
    "reduce_or": contraction.any_of,
    "reshape": lambda graph, eqn, x: movement.reshaped(graph, x, eqn.outvars[0].aval.shape),
    "slice": movement.slice_,
    "split": movement.split,
}
_BODIES = ("jaxpr", "call_jaxpr", "fun_jaxpr")


def convert(
    function: Callable[..., Sequence[jax.Array]],
    inputs: Mapping[str, jax.ShapeDtypeStruct],
    *,
    outputs: Sequence[str],
    opset: int,
) -> onnx.ModelProto:
    """An ONNX model of a function.

    Args:
        function: of arrays, in the order of `inputs`, to arrays, in the order of `outputs`.
        inputs: shape and dtype by name; dimensions of `jax.export.symbolic_shape` stay open. Where
            the function takes int32 the model takes int64, which tokenizers send.
        outputs: their names.
        opset: version of the operators.

    Raises:
        ValueError: the function has an operation that this converter does not know.
    """
    closed = jax.jit(function).trace(*inputs.values()).jaxpr
    graph = Graph(opset=opset)
    arguments = [_input(graph, name, aval) for name, aval in inputs.items()]
    results = evaluate(graph, closed.jaxpr, [*map(np.asarray, closed.consts), *arguments])
    ends: dict[str, tuple[Value, Any, Any]] = {}
    for name, value, aval in zip(outputs, results, closed.out_avals, strict=True):
        whole = movement.full(graph, value, aval.shape)
        ends[name] = (whole, np.dtype(aval.dtype), aval.shape)
    return graph.model(ends)


def _input(graph: Graph, name: str, aval: jax.ShapeDtypeStruct) -> str:
    if aval.dtype != np.int32:
        return graph.input(name, dtype=aval.dtype, shape=aval.shape)
    ids = graph.input(name, dtype=np.int64, shape=aval.shape)
    return graph.node("Cast", ids, to=tensor_kind(np.int32), shape=aval.shape)


def evaluate(graph: Graph, jaxpr: Any, arguments: Sequence[Value]) -> list[Value]:
    """The values of a trace's results, given those of its constants and arguments."""
    known: dict[Any, Value] = dict(zip([*jaxpr.constvars, *jaxpr.invars], arguments, strict=True))
    for eqn in jaxpr.eqns:
        values = [_read(known, atom) for atom in eqn.invars]
        results = _apply(graph, eqn, values)
        known |= dict(zip(eqn.outvars, results, strict=True))
    return [_read(known, atom) for atom in jaxpr.outvars]


def _read(known: dict[Any, Value], atom: Any) -> Value:
    if isinstance(atom, Literal):
        aval: Any = atom.aval
        return np.asarray(atom.val, aval.dtype)
    return known[atom]


def _apply(graph: Graph, eqn: Any, values: list[Value]) -> list[Value]:
    name = eqn.primitive.name
    if name == "scan":
        return _unrolled(graph, eqn, values)
    body = next((eqn.params[key] for key in _BODIES if key in eqn.params), None)
    if body is not None:
        constants = [np.asarray(c) for c in getattr(body, "consts", ())]
        return evaluate(graph, getattr(body, "jaxpr", body), [*constants, *values])
    if _is_constant(eqn, values):
        results = eqn.primitive.bind(*values, **eqn.params)
        return [np.asarray(x) for x in (results if eqn.primitive.multiple_results else [results])]
    operations = BROADCAST | WHOLE
    if name not in operations:
        raise ValueError(
            f"ONNX export knows no operation {name!r}; it has {', '.join(sorted(operations))}"
        )
    if name in WHOLE:
        avals = [v.aval for v in eqn.invars]
        values = [movement.full(graph, x, v.shape) for x, v in zip(values, avals, strict=True)]
    result = operations[name](graph, eqn, *values)
    return result if isinstance(result, list) else [result]


def _is_constant(eqn: Any, values: list[Value]) -> bool:
    avals = [v.aval for v in (*eqn.invars, *eqn.outvars)]
    if eqn.primitive.name == "dim_as_value":
        return False
    static = all(isinstance(size, int) for aval in avals for size in aval.shape)
    return static and not any(isinstance(value, str) for value in values)


def _unrolled(graph: Graph, eqn: Any, values: list[Value]) -> list[Value]:
    """A loop over layers, its body once a layer.

    Raises:
        ValueError: the loop runs over something that is no parameter, or collects results.
    """
    params = eqn.params
    fixed, count = params["num_consts"], params["num_consts"] + params["num_carry"]
    constants, carry, layers = values[:fixed], values[fixed:count], values[count:]
    if any(isinstance(x, str) for x in layers) or len(eqn.outvars) > len(carry):
        raise ValueError("ONNX export unrolls loops over parameters that collect nothing")
    order = range(params["length"])
    for index in reversed(order) if params["reverse"] else order:
        layer = [x[index] for x in layers if not isinstance(x, str)]
        body = params["jaxpr"]
        outer = [np.asarray(c) for c in body.consts]
        carry = evaluate(graph, body.jaxpr, [*outer, *constants, *carry, *layer])
    return carry
