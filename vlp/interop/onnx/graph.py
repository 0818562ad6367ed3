"""An ONNX graph while it is built: nodes in order, constants by value, shapes of all values."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

Shape = tuple[Any, ...]  # integers and symbolic dimensions
# What leaves a value as it is where its shape stays the same: slices are never reversed here.
_MOVES = ("Concat", "Expand", "Reshape", "Slice", "Split", "Squeeze", "Unsqueeze")


class Graph:
    """Nodes, initialisers, and what is known of each value.

    Attributes:
        opset: version of the operators.
        shapes: of every value, by name; axes that ONNX would broadcast may be 1.
        producers: the node that makes a value, by name.
        dims: for each symbolic dimension a graph input that has it, and the axis.
    """

    def __init__(self, *, opset: int) -> None:
        self.opset = opset
        self.shapes: dict[str, Shape] = {}
        self.producers: dict[str, onnx.NodeProto] = {}
        self.dims: list[tuple[Any, str, int]] = []
        self._constants: dict[str, np.ndarray] = {}
        self._names: dict[Any, str] = {}
        self._inputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, *, dtype: Any, shape: Shape) -> str:
        """Declares an input; symbolic dimensions keep their names."""
        self._inputs.append(_info(name, dtype, shape))
        self.shapes[name] = shape
        for axis, size in enumerate(shape):
            if not isinstance(size, int):
                self.dims.append((size, name, axis))
        return name

    def node(self, kind: str, *inputs: str | np.ndarray, shape: Shape, **attributes: Any) -> str:
        """Adds a node with one output of this shape, and returns the output's name."""
        return self.nodes(kind, *inputs, shapes=[shape], **attributes)[0]

    def nodes(
        self, kind: str, *inputs: str | np.ndarray, shapes: Sequence[Shape], **attributes: Any
    ) -> list[str]:
        """Adds a node with several outputs; none where it would give back its first input."""
        names = [x if isinstance(x, str) else self.constant(x) for x in inputs]
        if self._changes_nothing(kind, names, shapes, attributes):
            return names[:1]
        key = (kind, tuple(names), repr(sorted(attributes.items())))
        if key in self._names:  # the same node again, such as the shape of an input
            return list(self.producers[self._names[key]].output)
        outputs = [f"{kind}_{len(self.producers) + i}" for i in range(len(shapes))]
        node = helper.make_node(kind, names, outputs, name=outputs[0], **attributes)
        for output, shape in zip(outputs, shapes, strict=True):
            self.producers[output], self.shapes[output] = node, tuple(shape)
        self._names[key] = outputs[0]
        return outputs

    def _changes_nothing(
        self, kind: str, inputs: Sequence[str], shapes: Sequence[Shape], attributes: dict[str, Any]
    ) -> bool:
        if kind == "Transpose":
            return list(attributes["perm"]) == sorted(attributes["perm"])
        return kind in _MOVES and [tuple(shape) for shape in shapes] == [self.shapes[inputs[0]]]

    def constant(self, array: np.ndarray) -> str:
        """The name of an initialiser that holds the array; equal small ones are one."""
        array = np.asarray(array)
        key = (array.dtype, array.shape, array.tobytes() if array.size < 1024 else id(array))
        if key not in self._names:
            self._names[key] = f"constant_{len(self._constants)}"
            self._constants[self._names[key]] = array
            self.shapes[self._names[key]] = array.shape
        return self._names[key]

    def producer(self, value: str | np.ndarray, kind: str) -> onnx.NodeProto | None:
        """The node that makes the value, if it is of this kind."""
        node = self.producers.get(value) if isinstance(value, str) else None
        return node if node is not None and node.op_type == kind else None

    def value(self, name: str) -> np.ndarray | None:
        """What a constant holds; None for a value that is computed."""
        return self._constants.get(name)

    def reduce(self, kind: str, x: str | np.ndarray, *, axes: Any, keep: bool, shape: Shape) -> str:
        """Adds a reduction over axes, which are an input or, before opset 18, an attribute."""
        axes = [int(axis) for axis in axes]
        if kind == "ReduceSum" or self.opset >= 18:
            inputs = (x, np.asarray(axes, np.int64))
            return self.node(kind, *inputs, keepdims=int(keep), shape=shape)
        return self.node(kind, x, axes=axes, keepdims=int(keep), shape=shape)

    def axes(self, reduction: onnx.NodeProto) -> list[int]:
        """The axes of a reduction."""
        if len(reduction.input) > 1:
            return self._constants[reduction.input[1]].tolist()
        return next(list(a.ints) for a in reduction.attribute if a.name == "axes")

    def model(self, outputs: dict[str, tuple[str | np.ndarray, Any, Shape]]) -> onnx.ModelProto:
        """The finished model, without what no output needs.

        Args:
            outputs: by name: the value, its dtype and its shape.
        """
        values = [v if isinstance(v, str) else self.constant(v) for v, _, _ in outputs.values()]
        ends = [
            helper.make_node("Identity", [value], [name], name=name)
            for value, name in zip(values, outputs, strict=True)
        ]
        nodes = self._needed(values) + ends
        used = {name for node in nodes for name in node.input}
        graph = helper.make_graph(
            nodes,
            "vlp",
            self._inputs,
            [_info(name, dtype, shape) for name, (_, dtype, shape) in outputs.items()],
            [numpy_helper.from_array(a, n) for n, a in self._constants.items() if n in used],
        )
        imports = [helper.make_opsetid("", self.opset)]
        version = helper.find_min_ir_version_for(imports)
        return helper.make_model(
            graph, opset_imports=imports, ir_version=version, producer_name="vlp"
        )

    def _needed(self, values: list[str]) -> list[onnx.NodeProto]:
        needed = set(values)
        nodes = []
        for node in reversed(list({node.name: node for node in self.producers.values()}.values())):
            if needed.intersection(node.output):
                needed.update(node.input)
                nodes.append(node)
        return nodes[::-1]


def _info(name: str, dtype: Any, shape: Shape) -> onnx.ValueInfoProto:
    sizes = [size if isinstance(size, int) else str(size) for size in shape]
    return helper.make_tensor_value_info(name, tensor_kind(dtype), sizes)


def tensor_kind(dtype: Any) -> int:
    """ONNX's number for a NumPy dtype."""
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
