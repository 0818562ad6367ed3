"""ONNX files at full, half or eight-bit precision."""

from pathlib import Path

import onnx

EXTERNAL_OVER = 2**31 - 2**20  # bytes: protobuf ends at 2 GB


def save(model: onnx.ModelProto, path: Path, *, precision: str) -> None:
    """Writes a model; weights go into `path` with "_data" behind it where they are too large.

    Args:
        model: in float32; is changed.
        path: of the file.
        precision: "fp32", "fp16" or "int8".

    Raises:
        ValueError: a library is missing, or the model is too large to be quantised.
    """
    if precision == "int8":
        _quantise(model, path)
        return
    _write(_half(model) if precision == "fp16" else model, path)


def _write(model: onnx.ModelProto, path: Path) -> None:
    large = model.ByteSize() > EXTERNAL_OVER
    onnx.save(
        model,
        path,
        save_as_external_data=large,
        all_tensors_to_one_file=True,
        location=f"{path.name}_data",
    )


def _half(model: onnx.ModelProto) -> onnx.ModelProto:
    """Weights and arithmetic in float16; inputs and outputs stay float32."""
    from onnxruntime.transformers import float16

    # The list is older than the operators: these two have had float16 since opset 12, and a model
    # of 2 GB has no inferred types to leave them out by.
    kept = set(float16.DEFAULT_OP_BLOCK_LIST) - {"Max", "Min"}
    return float16.convert_float_to_float16(
        model, keep_io_types=True, disable_shape_infer=True, op_block_list=sorted(kept)
    )


def _quantise(model: onnx.ModelProto, path: Path) -> None:
    """Matrices and tables of embeddings as integers of eight bits; activations as they come."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    whole = path.with_name(f".{path.name}.float32")
    _write(model, whole)
    quantize_dynamic(
        whole,
        path,
        op_types_to_quantize=["MatMul", "Gather"],
        per_channel=True,
        weight_type=QuantType.QInt8,
        use_external_data_format=model.ByteSize() > EXTERNAL_OVER,
    )
    for file in path.parent.glob(f"{whole.name}*"):
        file.unlink()
