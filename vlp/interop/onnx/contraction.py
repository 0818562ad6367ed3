"""Sums and products over axes: what XLA's contractions are in ONNX."""

from typing import Any

import numpy as np
from onnx import TensorProto

from vlp.interop.onnx.arithmetic import Value, shape_of
from vlp.interop.onnx.graph import Graph
from vlp.interop.onnx.movement import reshaped, transposed

REDUCTIONS = {"reduce_sum": "ReduceSum", "reduce_max": "ReduceMax"}


def reduction(graph: Graph, eqn: Any, x: Value) -> str:
    """A sum or a maximum over axes."""
    kind, shape = REDUCTIONS[eqn.primitive.name], eqn.outvars[0].aval.shape
    return graph.reduce(kind, x, axes=eqn.params["axes"], keep=False, shape=shape)


def any_of(graph: Graph, eqn: Any, x: Value) -> str:
    """Whether any is true, along axes."""
    before, shape = eqn.invars[0].aval.shape, eqn.outvars[0].aval.shape
    number = graph.node("Cast", x, to=TensorProto.INT32, shape=before)
    axes = eqn.params["axes"]
    most = graph.reduce("ReduceMax", number, axes=axes, keep=False, shape=shape)
    return graph.node("Cast", most, to=TensorProto.BOOL, shape=shape)


def argmax(graph: Graph, eqn: Any, x: Value) -> str:
    """The first place of the largest value along an axis."""
    before, shape = eqn.invars[0].aval, eqn.outvars[0].aval.shape
    if before.dtype == bool:
        x = graph.node("Cast", x, to=TensorProto.INT32, shape=before.shape)
    axis = eqn.params["axes"][0]
    place = graph.node("ArgMax", x, axis=axis, keepdims=0, shape=shape)
    return graph.node("Cast", place, to=TensorProto.INT32, shape=shape)


def dot(graph: Graph, eqn: Any, left: Value, right: Value) -> str:
    """A matrix product of the last two axes, the others being examples.

    Raises:
        ValueError: more than one axis is summed over.
    """
    (summed, batch), avals = eqn.params["dimension_numbers"], [v.aval for v in eqn.invars]
    if len(summed[0]) != 1:
        raise ValueError(f"ONNX export needs products over one axis, got {summed}")
    free = [
        [i for i in range(len(aval.shape)) if i not in (*summed[side], *batch[side])]
        for side, aval in enumerate(avals)
    ]
    orders = [[*batch[0], *free[0], *summed[0]], [*batch[1], *summed[1], *free[1]]]
    left, right = (_ordered(graph, x, o) for x, o in zip((left, right), orders, strict=True))
    shape = eqn.outvars[0].aval.shape
    count = len(batch[0])
    if len(free[1]) == 1 and (len(free[0]) == 1 or not batch[0] and free[0]):
        return graph.node("MatMul", left, right, shape=shape)
    if len(free[0]) > 1 or len(free[1]) > 1:
        raise ValueError(f"ONNX export needs products of matrices, got {eqn.params}")
    # A vector on one side, or on both: a matrix of one row or one column.
    left_shape, right_shape = shape_of(graph, left), shape_of(graph, right)
    if not free[0]:
        left_shape = (*left_shape[:count], 1, left_shape[-1])
    if not free[1]:
        right_shape = (*right_shape, 1)
    product = graph.node(
        "MatMul",
        reshaped(graph, left, left_shape),
        reshaped(graph, right, right_shape),
        shape=(*left_shape[:-1], right_shape[-1]),
    )
    return reshaped(graph, product, shape)


def _ordered(graph: Graph, x: Value, order: list[int]) -> Value:
    if isinstance(x, str):
        return transposed(graph, x, order)
    return x if order == sorted(order) else np.ascontiguousarray(x.transpose(order))


def convolution(graph: Graph, eqn: Any, x: Value, kernel: np.ndarray) -> str:
    """A convolution; ONNX has channels first."""
    params = eqn.params
    numbers = params["dimension_numbers"]
    padding = [low for low, _ in params["padding"]] + [high for _, high in params["padding"]]
    shape = eqn.outvars[0].aval.shape
    first = graph.node(
        "Conv",
        transposed(graph, x, numbers.lhs_spec),
        np.ascontiguousarray(kernel.transpose(numbers.rhs_spec)),
        strides=list(params["window_strides"]),
        dilations=list(params["rhs_dilation"]),
        pads=padding,
        group=params["feature_group_count"],
        shape=tuple(shape[axis] for axis in numbers.out_spec),
    )
    return transposed(graph, first, np.argsort(numbers.out_spec).tolist())
