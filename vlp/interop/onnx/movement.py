"""Shapes and places: what XLA's moving of data is in ONNX."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import TensorProto

from vlp.interop.onnx.arithmetic import Value, shape_of
from vlp.interop.onnx.graph import Graph, Shape


def full(graph: Graph, value: Value, shape: Shape) -> Value:
    """The value at its whole shape, where axes had been left to broadcasting."""
    if shape_of(graph, value) == tuple(shape):
        return value
    return graph.node("Expand", value, sizes(graph, shape), shape=shape)


def sizes(graph: Graph, shape: Shape) -> Value:
    """A shape as a value, int64."""
    if all(isinstance(size, int) for size in shape):
        return np.asarray(shape, np.int64)
    parts = [length(graph, size) for size in shape]
    return graph.node("Concat", *parts, axis=0, shape=(len(shape),))


def length(graph: Graph, size: Any) -> Value:
    """One dimension as a value, int64 `[1]`."""
    if isinstance(size, int):
        return np.asarray([size], np.int64)
    for known, name, axis in graph.dims:
        rest = size - known
        if isinstance(rest, int):
            shape = graph.node("Shape", name, shape=(len(graph.shapes[name]),))
            found = graph.node("Gather", shape, np.asarray([axis], np.int64), axis=0, shape=(1,))
            if rest == 0:
                return found
            return graph.node("Add", found, np.asarray([rest], np.int64), shape=(1,))
    raise ValueError(f"a dimension must be that of an input plus a number, got {size}")


def dimension(graph: Graph, eqn: Any) -> str:
    """A dimension as a scalar of the traced dtype."""
    scalar = graph.node("Squeeze", length(graph, eqn.params["dim"]), shape=())
    return graph.node("Cast", scalar, to=TensorProto.INT32, shape=())  # int32, as JAX counts


def reshaped(graph: Graph, x: Value, shape: Shape) -> str:
    """A reshape to any shape; one symbolic dimension is left for ONNX to find."""
    earlier = graph.producer(x, "Reshape")
    x = x if earlier is None else earlier.input[0]
    unknown = [axis for axis, size in enumerate(shape) if not isinstance(size, int)]
    if len(unknown) > 1:
        return graph.node("Reshape", x, sizes(graph, shape), shape=shape)
    target = np.asarray([size if isinstance(size, int) else -1 for size in shape], np.int64)
    return graph.node("Reshape", x, target, shape=shape)


def broadcast_in_dim(graph: Graph, eqn: Any, x: Value) -> Value:
    """New axes of length 1 only: ONNX broadcasts where the value is used."""
    placed = eqn.params["broadcast_dimensions"]
    shape: list[Any] = [1] * len(eqn.outvars[0].aval.shape)
    for axis, size in zip(placed, shape_of(graph, x), strict=True):
        shape[axis] = size
    if len(shape) == len(placed):
        return x
    if not isinstance(x, str):
        return x.reshape(shape)
    axes = [axis for axis in range(len(shape)) if axis not in placed]
    kept = _kept(graph, x, axes, tuple(shape))
    return kept or graph.node("Unsqueeze", x, np.asarray(axes, np.int64), shape=tuple(shape))


def _kept(graph: Graph, x: str, axes: list[int], shape: Shape) -> str | None:
    """The reduction that made the value, with its axes kept, if those are the new axes."""
    for kind in ("ReduceSum", "ReduceMax", "ReduceMean"):
        node = graph.producer(x, kind)
        if node is not None and graph.axes(node) == axes:
            return graph.reduce(kind, node.input[0], axes=axes, keep=True, shape=shape)
    return None


def squeeze(graph: Graph, eqn: Any, x: Value) -> str:
    """Without axes of length 1."""
    axes = np.asarray(eqn.params["dimensions"], np.int64)
    shape = np.delete(np.asarray(shape_of(graph, x), object), axes)
    return graph.node("Squeeze", x, axes, shape=tuple(shape))


def expand_dims(graph: Graph, eqn: Any, x: Value) -> str:
    """With more axes of length 1."""
    axes = np.asarray(eqn.params["dimensions"], np.int64)
    return graph.node("Unsqueeze", x, axes, shape=eqn.outvars[0].aval.shape)


def transposed(graph: Graph, x: Value, order: Sequence[int]) -> str:
    """The axes in this order."""
    earlier = graph.producer(x, "Transpose")
    if earlier is not None:
        before = next(list(a.ints) for a in earlier.attribute if a.name == "perm")
        x, order = earlier.input[0], [before[axis] for axis in order]
    shape = shape_of(graph, x)
    return graph.node("Transpose", x, perm=list(order), shape=tuple(shape[i] for i in order))


def slice_(graph: Graph, eqn: Any, x: Value) -> str:
    """A part of some axes."""
    aval = eqn.invars[0].aval
    starts, ends = eqn.params["start_indices"], eqn.params["limit_indices"]
    strides = eqn.params["strides"] or (1,) * len(starts)
    cut = [
        axis
        for axis, size in enumerate(aval.shape)
        if (starts[axis], strides[axis]) != (0, 1) or ends[axis] != size
    ]
    limits = [np.asarray([v[axis] for axis in cut], np.int64) for v in (starts, ends, strides)]
    limits.insert(2, np.asarray(cut, np.int64))
    return graph.node("Slice", x, *limits, shape=eqn.outvars[0].aval.shape)


def concatenate(graph: Graph, eqn: Any, *values: Value) -> str:
    """Several values along an axis."""
    axis = eqn.params["dimension"]
    return graph.node("Concat", *values, axis=axis, shape=eqn.outvars[0].aval.shape)


def split(graph: Graph, eqn: Any, x: Value) -> list[str]:
    """Parts of an axis."""
    parts = np.asarray(eqn.params["sizes"], np.int64)
    shapes = [v.aval.shape for v in eqn.outvars]
    return graph.nodes("Split", x, parts, axis=eqn.params["axis"], shapes=shapes)


def iota(graph: Graph, eqn: Any) -> Value:
    """Counting along an axis whose length is only known when the model runs."""
    shape, axis = eqn.outvars[0].aval.shape, eqn.params["dimension"]
    stop = graph.node("Squeeze", length(graph, shape[axis]), shape=())
    zero, one = np.asarray(0, np.int64), np.asarray(1, np.int64)
    count = graph.node("Range", zero, stop, one, shape=(shape[axis],))
    count = graph.node("Cast", count, to=TensorProto.INT32, shape=(shape[axis],))
    flat = tuple(size if i == axis else 1 for i, size in enumerate(shape))
    return full(graph, reshaped(graph, count, flat), shape)


def gather(graph: Graph, eqn: Any, x: Value, places: Value) -> str:
    """Whole rows by number, one row of each example, or a part of a table.

    Raises:
        ValueError: XLA's gather is more general than that.
    """
    numbers, counts = eqn.params["dimension_numbers"], eqn.params["slice_sizes"]
    source, shape = eqn.invars[0].aval.shape, eqn.outvars[0].aval.shape
    places = full(graph, places, eqn.invars[1].aval.shape)
    if len(numbers.start_index_map) == 1:
        axis = numbers.start_index_map[0]
        others = [i for i in range(len(source)) if i != axis]
        batching = numbers.operand_batching_dims
        if not batching and all(counts[i] == source[i] for i in others):
            if numbers.collapsed_slice_dims == (axis,):
                return _rows(graph, x, places, axis=axis, shape=shape)
            if not numbers.collapsed_slice_dims and not isinstance(places, str):
                return _part(graph, x, int(places[0]), counts[axis], axis=axis, shape=shape)
        if batching == (0,) and axis == 1 and numbers.collapsed_slice_dims == (1,):
            return _row_of_each(graph, x, places, shape=shape)
    raise ValueError(f"ONNX export cannot express this gather: {numbers}, slices {counts}")


def _rows(graph: Graph, x: Value, places: Value, *, axis: int, shape: Shape) -> str:
    index = shape_of(graph, places)[:-1]
    if isinstance(places, str):
        places = reshaped(graph, places, index)
    else:
        places = places.reshape(index).astype(np.int64)
    return graph.node("Gather", x, places, axis=axis, shape=shape)


def _part(graph: Graph, x: Value, start: int, count: Any, *, axis: int, shape: Shape) -> str:
    begin, axes = np.asarray([start], np.int64), np.asarray([axis], np.int64)
    return graph.node("Slice", x, begin, length(graph, start + count), axes, shape=shape)


def _row_of_each(graph: Graph, x: Value, places: Value, *, shape: Shape) -> str:
    """`places` is `[n, 1, 1]`: of each example the row with this number."""
    n, width = shape[0], shape[-1]
    index = graph.node("Cast", reshaped(graph, places, (n, 1)), to=TensorProto.INT64, shape=(n, 1))
    rows = graph.node("GatherND", x, index, batch_dims=1, shape=(n, width))
    return reshaped(graph, rows, shape)
