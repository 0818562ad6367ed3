"""Another converter, of other hands, makes of the same towers files that compute the same."""

import os
import subprocess
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from tests.interop_targets.towers import CHANGES, run_of
from vlp.interop.onnx import write as target

PYTHON = os.environ.get("VLP_JAX2ONNX_PYTHON", "")
ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.skipif(not PYTHON, reason="make test-jax2onnx runs it: 1.3 GB more"),
]


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """The folder of what jax2onnx made of every kind of tower."""
    folder = tmp_path_factory.mktemp("jax2onnx")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    command = [PYTHON, "-m", "tests.interop_targets.by_jax2onnx", folder, *CHANGES]
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    return folder


def first_output(path, **inputs):
    quiet = onnxruntime.SessionOptions()
    quiet.log_severity_level = 3  # on constants that nothing uses, which jax2onnx leaves
    session = onnxruntime.InferenceSession(str(path), quiet, providers=["CPUExecutionProvider"])
    if not inputs.keys() & {value.name for value in session.get_inputs()}:
        inputs = {session.get_inputs()[0].name: x for x in inputs.values()}
    return session.run(None, inputs)[0]


@pytest.mark.parametrize("name", CHANGES)
def test_its_towers_embed_as_ours(name, theirs, tmp_path):
    run = run_of(name)
    target.write(run, tmp_path, joint=False)
    side = run.model.image.image_size
    pixels = np.random.default_rng(0).normal(size=(2, 3, side, side)).astype(np.float32)
    ours = first_output(tmp_path / "onnx" / "vision_model.onnx", pixel_values=pixels)
    found = first_output(theirs / f"{name}.image.onnx", pixels=pixels)
    np.testing.assert_allclose(ours, found, rtol=1e-5, atol=1e-6)
    ids = run.tokenize(["a red heart", "cat"])
    ours = first_output(tmp_path / "onnx" / "text_model.onnx", input_ids=ids.astype(np.int64))
    found = first_output(theirs / f"{name}.text.onnx", ids=ids)
    np.testing.assert_allclose(ours, found, rtol=1e-5, atol=1e-6)
