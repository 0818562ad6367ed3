"""Every ONNX file is valid and tidy, and OpenVINO computes what onnxruntime computes."""

import numpy as np
import onnx
import onnxruntime
import pytest

from tests.interop.tiny import LENGTH, VOCABULARY, make_run
from tests.interop_targets.towers import CHANGES, run_of
from vlp.interop.export import export
from vlp.interop.onnx import precision as precision_module
from vlp.interop.onnx import write as target

ov = pytest.importorskip("openvino")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
# Where two runtimes may differ: in the last bits, or in one step of the lower precision.
ALLOWED = {"fp32": 1e-5, "fp16": 0.02, "int8": 0.1}
CASES = [(name, "fp32") for name in CHANGES if name != "bfloat16"]  # which is written as "clip"
CASES += [(name, precision) for name in ("clip", "siglip") for precision in ("fp16", "int8")]
MOVES = ("Concat", "Expand", "Reshape", "Slice", "Squeeze", "Unsqueeze")


@pytest.fixture(scope="module", params=CASES, ids=" ".join)
def files(request, tmp_path_factory):
    """The precision and the files of one kind of model."""
    name, precision = request.param
    folder = tmp_path_factory.mktemp("onnx")
    target.write(run_of(name), folder, precision=precision)
    paths = sorted((folder / "onnx").glob("*.onnx"))
    assert len(paths) == 3
    return precision, paths


def test_the_checker_finds_every_file_valid(files):
    for path in files[1]:
        onnx.checker.check_model(str(path), full_check=True)


def test_every_weight_is_used_and_no_node_gives_back_what_it_got(files):
    for path in files[1]:
        graph = onnx.shape_inference.infer_shapes(onnx.load(path), strict_mode=True).graph
        used = {name for node in graph.node for name in node.input}
        assert {tensor.name for tensor in graph.initializer} <= used
        assert len({tensor.name for tensor in graph.initializer}) == len(graph.initializer)
        assert [node.op_type for node in graph.node if idle(node, types(graph))] == []


def types(graph):
    """Dtype and shape of every value that is known by its sizes or their names."""
    known = {tensor.name: (tensor.data_type, list(tensor.dims)) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        sizes = [size.dim_param or size.dim_value for size in tensor.shape.dim]
        known[value.name] = (tensor.elem_type, sizes)
    return known


def idle(node, known):
    """Whether a node's output has to be its first input."""
    given, made = known.get(node.input[0]), known.get(node.output[0])
    if node.op_type == "Transpose":
        return list(node.attribute[0].ints) == sorted(node.attribute[0].ints)
    if node.op_type == "Cast":
        return given is not None and given[0] == made[0]
    invented = made is not None and any(str(size).startswith("unk__") for size in made[1])
    return node.op_type in MOVES and given is not None and given == made and not invented


def test_openvino_computes_what_onnxruntime_computes(files):
    precision, paths = files
    for path in paths:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        exact = {"INFERENCE_PRECISION_HINT": "f32"}
        compiled = ov.Core().compile_model(str(path), "CPU", exact)
        for rows in (1, 3):
            inputs = given(session, rows)
            outputs = [value.name for value in session.get_outputs()]
            found = compiled(inputs)
            for name, expected in zip(outputs, session.run(outputs, inputs), strict=True):
                error = np.abs(found[name] - expected).max() / np.abs(expected).max()
                assert error < ALLOWED[precision], (path.name, name)


def given(session, rows):
    """Pixels and ids for the inputs of a session: images one more than texts."""
    random, inputs = np.random.default_rng(rows), {}
    for value in session.get_inputs():
        if value.name == "pixel_values":
            shape = (rows + 1, *value.shape[1:])
            inputs[value.name] = random.normal(size=shape).astype(np.float32)
        else:
            ids = random.integers(3, VOCABULARY, (rows, LENGTH))
            ids[:, LENGTH // 2] = 1  # the end token
            inputs[value.name] = np.ones_like(ids) if value.name == "attention_mask" else ids
    return inputs


def test_a_graph_that_the_checker_refuses_is_not_handed_out(tmp_path, monkeypatch):
    def reversed_order(model):
        nodes = list(model.graph.node)[::-1]
        model.graph.ClearField("node")
        model.graph.node.extend(nodes)
        return model

    monkeypatch.setattr(precision_module, "_half", reversed_order)
    with pytest.raises(ValueError, match="must be a valid ONNX model, but Nodes in a graph must"):
        export(make_run("clip"), tmp_path / "out", to="onnx", precision="fp16")
    assert not any(tmp_path.iterdir())
