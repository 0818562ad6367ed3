"""Each file needs its own stack and is left out where that is not installed."""

import importlib.util
import sys

# OpenVINO would report each import to its makers, from a fork of this process; it does without.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

_NEEDS = {
    "test_jax2onnx.py": "onnxruntime",
    "test_onnx.py": "onnxruntime",
    "test_onnx_convert.py": "onnxruntime",
    "test_onnx_readers.py": "onnxruntime",
    "test_tensorflow.py": "tensorflow",
    "test_transformersjs.py": "onnxruntime",
}
collect_ignore = [file for file, name in _NEEDS.items() if not importlib.util.find_spec(name)]
