"""Element by element: what XLA's arithmetic is in ONNX.

Where runtimes look for a pattern of nodes (layer normalisation, softmax, GELU), what JAX traces is
written as that pattern, so that they find it.
"""

from typing import Any

import numpy as np

from vlp.interop.onnx.graph import Graph, Shape, tensor_kind

Value = str | np.ndarray

BINARY = {
    "add": "Add",
    "sub": "Sub",
    "mul": "Mul",
    "div": "Div",
    "max": "Max",
    "min": "Min",
    "pow": "Pow",
    "eq": "Equal",
    "lt": "Less",
    "le": "LessOrEqual",
    "gt": "Greater",
    "ge": "GreaterOrEqual",
    "and": "And",
    "or": "Or",
}
UNARY = {
    "abs": "Abs",
    "erf": "Erf",
    "exp": "Exp",
    "log": "Log",
    "logistic": "Sigmoid",
    "neg": "Neg",
    "not": "Not",
    "sqrt": "Sqrt",
    "tanh": "Tanh",
}


def shape_of(graph: Graph, value: Value) -> Shape:
    """The shape a value has in the graph, with 1 for axes that are left to broadcasting."""
    return graph.shapes[value] if isinstance(value, str) else value.shape


def broadcast(left: Shape, right: Shape) -> Shape:
    """The shape of an operation on both, by NumPy's rule."""
    rank = max(len(left), len(right))
    sizes = ((1,) * (rank - len(s)) + tuple(s) for s in (left, right))
    return tuple(b if isinstance(a, int) and a == 1 else a for a, b in zip(*sizes, strict=True))


def on_both(graph: Graph, kind: str, left: Value, right: Value) -> str:
    """An operation on two values, broadcast."""
    shape = broadcast(shape_of(graph, left), shape_of(graph, right))
    return graph.node(kind, _bare(left, right), _bare(right, left), shape=shape)


def binary(graph: Graph, eqn: Any, left: Value, right: Value) -> str:
    """The operation of that name."""
    return on_both(graph, BINARY[eqn.primitive.name], left, right)


def differs(graph: Graph, eqn: Any, left: Value, right: Value) -> str:
    """Whether two values differ; ONNX has only the contrary."""
    equal = on_both(graph, "Equal", left, right)
    return graph.node("Not", equal, shape=graph.shapes[equal])


def divide(graph: Graph, eqn: Any, left: Value, right: Value) -> str:
    """A quotient; a mean or a softmax where it is the end of one."""
    return (
        _mean(graph, left, right) or _softmax(graph, left, right) or binary(graph, eqn, left, right)
    )


def multiply(graph: Graph, eqn: Any, left: Value, right: Value) -> str:
    """A product; a quotient where one factor is a reciprocal."""
    root = graph.producer(right, "Reciprocal")
    if root is not None:
        return on_both(graph, "Div", left, root.input[0])
    return _tanh_gelu(graph, left, right) or binary(graph, eqn, left, right)


def reciprocal_root(graph: Graph, eqn: Any, x: str) -> str:
    """One over the square root; `multiply` divides by the root instead."""
    shape = shape_of(graph, x)
    return graph.node("Reciprocal", graph.node("Sqrt", x, shape=shape), shape=shape)


def maximum(graph: Graph, eqn: Any, left: Value, right: Value) -> Value:
    """The larger one; nothing to do where one is minus infinity."""
    if not isinstance(left, str) and left.size == 1 and left.item() == -np.inf:
        return right
    return binary(graph, eqn, left, right)


def error_function(graph: Graph, eqn: Any, x: str) -> str:
    """Erf; a multiple inside is written as a quotient, which is how GELU is recognised."""
    product = graph.producer(x, "Mul")
    factor = graph.value(product.input[1]) if product is not None else None
    if product is not None and factor is not None and factor.size == 1:
        divisor = np.asarray(1 / factor, factor.dtype).reshape(())
        x = graph.node("Div", product.input[0], divisor, shape=shape_of(graph, x))
    return unary(graph, eqn, x)


def unary(graph: Graph, eqn: Any, x: Value) -> str:
    """A function of one value."""
    return graph.node(UNARY[eqn.primitive.name], x, shape=shape_of(graph, x))


def power(graph: Graph, eqn: Any, x: Value) -> str:
    """An integer power."""
    exponent = np.asarray(eqn.params.get("y", 2), eqn.outvars[0].aval.dtype)
    return graph.node("Pow", x, exponent, shape=shape_of(graph, x))


def cast(graph: Graph, eqn: Any, x: Value) -> Value:
    """Another dtype."""
    to = eqn.params["new_dtype"]
    if eqn.invars[0].aval.dtype == to:
        return x
    return graph.node("Cast", x, to=tensor_kind(to), shape=shape_of(graph, x))


def select(graph: Graph, eqn: Any, condition: Value, false: Value, true: Value) -> str:
    """One or the other, by a condition."""
    shape = broadcast(shape_of(graph, false), shape_of(graph, true))
    shape = broadcast(shape_of(graph, condition), shape)
    if eqn.outvars[0].aval.dtype != bool:
        return graph.node("Where", condition, true, false, shape=shape)
    # Runtimes have no Where of truth values.
    unless = graph.node("Not", condition, shape=shape_of(graph, condition))
    yes = graph.node("And", condition, true, shape=shape)
    return graph.node("Or", yes, graph.node("And", unless, false, shape=shape), shape=shape)


def _bare(constant: Value, other: Value) -> Value:
    """A constant without leading axes of length 1, where another operand has them."""
    if isinstance(constant, str) or not isinstance(other, str):
        return constant
    longer = (axis for axis, size in enumerate(constant.shape) if size != 1)
    return constant.reshape(constant.shape[next(longer, constant.ndim) :])


def _tanh_gelu(graph: Graph, left: Value, right: Value) -> str | None:
    """`x * (0.5 * (1 + tanh))` is written as `(x * 0.5) * (1 + tanh)`, the same to the last bit."""
    half = graph.producer(right, "Mul")
    total = graph.producer(half.input[1], "Add") if half is not None else None
    if half is None or total is None or graph.producer(total.input[1], "Tanh") is None:
        return None
    factor = graph.value(half.input[0])
    if factor is None or np.any(factor != 0.5):
        return None
    shape = shape_of(graph, left)
    return graph.node(
        "Mul", graph.node("Mul", left, half.input[0], shape=shape), half.input[1], shape=shape
    )


def _mean(graph: Graph, left: Value, right: Value) -> str | None:
    """A sum over axes, divided by how many there are, is a mean."""
    total = graph.producer(left, "ReduceSum")
    if total is None or isinstance(right, str) or right.size != 1:
        return None
    before, axes = graph.shapes[total.input[0]], graph.axes(total)
    counted = [before[axis] for axis in axes]
    if not all(isinstance(n, int) for n in counted) or np.prod(counted) != right.item():
        return None
    shape = shape_of(graph, left)
    keep = len(shape) == len(before)
    return graph.reduce("ReduceMean", total.input[0], axes=axes, keep=keep, shape=shape)


def _softmax(graph: Graph, left: Value, right: Value) -> str | None:
    """Exponentials of what is left after the maximum, divided by their sum."""
    exponential, total = graph.producer(left, "Exp"), graph.producer(right, "ReduceSum")
    if exponential is None or total is None or total.input[0] != left:
        return None
    shifted = graph.producer(exponential.input[0], "Sub")
    largest = graph.producer(shifted.input[1], "ReduceMax") if shifted is not None else None
    if shifted is None or largest is None or largest.input[0] != shifted.input[0]:
        return None
    axis, *more = graph.axes(total)
    if more or graph.axes(largest) != [axis]:
        return None
    return graph.node("Softmax", shifted.input[0], axis=axis, shape=shape_of(graph, left))
