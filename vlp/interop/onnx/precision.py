"""ONNX files at full, half or eight-bit precision."""

import contextlib
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import onnx

EXTERNAL_OVER = 2**31 - 2**20  # bytes: protobuf ends at 2 GB


def save(model: onnx.ModelProto, path: Path, *, precision: str) -> None:
    """Writes a model; weights go into `path` with "_data" behind it where they are too large.

    Args:
        model: in float32; is changed.
        path: of the file.
        precision: "fp32", "fp16" or "int8".
    """
    make = {"fp32": lambda model: model, "fp16": _half, "int8": _quantised}[precision]
    _write(make(model), path)


def _write(model: onnx.ModelProto, path: Path) -> None:
    onnx.save(
        model,
        path,
        save_as_external_data=_is_large(model),
        all_tensors_to_one_file=True,
        location=f"{path.name}_data",
    )


def _is_large(model: onnx.ModelProto) -> bool:
    # Tensor by tensor: a message over 2 GB cannot even be asked for its size.
    return sum(tensor.ByteSize() for tensor in model.graph.initializer) > EXTERNAL_OVER


def _half(model: onnx.ModelProto) -> onnx.ModelProto:
    """Weights and arithmetic in float16; inputs and outputs stay float32."""
    from onnxruntime.transformers import float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    # The list is older than the operators: these two have had float16 since opset 12, and a model
    # of 2 GB has no inferred types to leave them out by.
    kept = set(float16.DEFAULT_OP_BLOCK_LIST) - {"Max", "Min"}
    half = float16.convert_float_to_float16(
        model, keep_io_types=True, disable_shape_infer=True, op_block_list=sorted(kept)
    )
    OnnxModel.graph_topological_sort(half.graph)  # its casts of inputs come last
    return half


def _quantised(model: onnx.ModelProto) -> onnx.ModelProto:
    """Matrices and tables of embeddings as integers of eight bits; activations as they come."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as folder, _without_advice():
        whole, small = Path(folder, "whole.onnx"), Path(folder, "small.onnx")
        large = _is_large(model)  # asked before writing, which takes large weights out of the model
        _write(model, whole)
        quantize_dynamic(
            whole,
            small,
            op_types_to_quantize=["MatMul", "Gather"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            use_external_data_format=large,
        )
        return onnx.load(small)


@contextlib.contextmanager
def _without_advice() -> Iterator[None]:
    """Without the warning that a model should be optimised first: ours are, as they are traced."""

    def other(record: logging.LogRecord) -> bool:
        return "run pre-processing before quantization" not in record.getMessage()

    root = logging.getLogger()
    root.addFilter(other)
    try:
        yield
    finally:
        root.removeFilter(other)
