"""The zero-shot pipeline of transformers.js opens the folders, and gives the model's own scores."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from tests.interop.tiny import SIZE, make_run
from tests.interop_targets.towers import run_of
from vlp.interop.onnx import precision as precision_module
from vlp.interop.onnx import write as target

LIBRARY = Path(sys.prefix, "node/node_modules/@huggingface/transformers/dist")
LABELS = ["a red heart", "cat", "blue dog face"]
DTYPES = {"fp32": "fp32", "fp16": "fp16", "int8": "q8"}  # what transformers.js calls them

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.skipif(
        not (LIBRARY.is_dir() and shutil.which("node")),
        reason=f"needs node, and npm install --prefix {sys.prefix}/node @huggingface/transformers",
    ),
]


def scores(folder, models, *, size=SIZE):
    """What the pipeline says of one picture, for each (folder, dtype)."""
    script = Path(__file__).with_name("zero_shot.mjs")
    given = (f"{folder}/", json.dumps(models), json.dumps(LABELS), str(size))
    said = subprocess.run(
        ["node", script, LIBRARY / "transformers.node.mjs", *given], capture_output=True, text=True
    )
    assert said.returncode == 0, said.stderr[-2000:]
    return [[found[label] for label in LABELS] for found in json.loads(said.stdout)]


def expected(run):
    size = run.model.image.image_size
    picture = (np.arange(size * size * 3) * 7 % 256).astype(np.uint8).reshape(1, size, size, 3)
    zimg = run.model.encode_image(picture).embedding
    logits = run.model.logits(zimg, run.model.encode_text(run.tokenize(LABELS)).embedding)[0]
    siglip = run.card["objective"] == "siglip"
    return np.asarray(jax.nn.sigmoid(logits) if siglip else jax.nn.softmax(logits))


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_scores_are_the_model_s_at_every_precision(kind, tmp_path):
    run = make_run(kind)
    for precision in DTYPES:
        (tmp_path / precision).mkdir()
        target.write(run, tmp_path / precision, precision=precision)
    found = scores(tmp_path, list(DTYPES.items()))
    for got, allowed in zip(found, (1e-5, 0.005, 0.05), strict=True):
        np.testing.assert_allclose(got, expected(run), atol=allowed)


def test_models_that_transformers_has_no_class_for_are_opened_too(tmp_path):
    names = ("resnet and words", "mean pooling and bert", "coca")
    for name in names:
        run, folder = run_of(name), name.replace(" ", "_")
        (tmp_path / folder).mkdir()
        target.write(run, tmp_path / folder)
        (got,) = scores(tmp_path, [(folder, "fp32")], size=run.model.image.image_size)
        np.testing.assert_allclose(got, expected(run), atol=1e-5)


def test_weights_beside_the_files_are_found(tmp_path, monkeypatch):
    monkeypatch.setattr(precision_module, "EXTERNAL_OVER", 10_000)
    run = make_run("clip")
    (tmp_path / "large").mkdir()
    target.write(run, tmp_path / "large")
    assert (tmp_path / "large" / "onnx" / "model.onnx_data").is_file()
    np.testing.assert_allclose(scores(tmp_path, [("large", "fp32")]), [expected(run)], atol=1e-5)
