"""SavedModel and TFLite files compute in TensorFlow what the model computes."""

import os

os.environ["CUDA_VISIBLE_DEVICES"] = ""

import numpy as np
import pytest

from tests.interop.readmes import WITHOUT_VLP, expected, printed
from tests.interop.tiny import make_run
from tests.interop_targets.towers import run_of
from vlp.interop.export import export

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated:UserWarning"),
    pytest.mark.filterwarnings("ignore:In the future `np:FutureWarning"),
]


@pytest.fixture(scope="module", params=["savedmodel", "tflite"])
def exported(request, tmp_path_factory):
    """A run and the folder it was exported to."""
    run, out = make_run("clip"), tmp_path_factory.mktemp(request.param) / "out"
    return run, out, export(run, out, to=request.param)


@pytest.mark.parametrize("to", ["savedmodel", "tflite"])
@pytest.mark.parametrize("name", ["siglip", "resnet and words", "mean pooling and bert"])
def test_every_kind_of_tower_passes_the_gate_at_two_batch_sizes(name, to, tmp_path):
    report = export(run_of(name), tmp_path / "out", to=to)
    assert report["verified"] and report["verified_with"].startswith("tensorflow")
    assert report["batch_sizes"] == [1, 5] and report["token_ids"]["unequal"] == []
    for output, by_batch in report["outputs"].items():
        error = "max_relative_difference" if output == "logits" else "max_abs_difference"
        assert all(result[error] < 1e-5 for result in by_batch.values())


def test_the_readme_runs_as_written_without_vlp_or_jax(exported):
    run, folder, report = exported
    assert report["verified"]
    without = WITHOUT_VLP + "sys.modules.update(jax=None)\n"
    np.testing.assert_allclose(printed(folder, before=without), expected(run, folder), 1e-4, 1e-6)


@pytest.mark.parametrize("batch_size", [2, 3])
def test_the_readme_fills_and_cuts_for_a_fixed_batch(batch_size, tmp_path):
    run = make_run("clip")
    export(run, tmp_path / "out", to="tflite", batch_size=batch_size)
    found = printed(tmp_path / "out", before=WITHOUT_VLP)
    np.testing.assert_allclose(found, expected(run, tmp_path / "out"), 1e-4, 1e-6)


def test_the_signatures_of_a_saved_model_take_any_batch(tmp_path):
    import tensorflow as tf

    run = make_run("siglip")
    export(run, tmp_path / "out", to="savedmodel")
    signatures = tf.saved_model.load(str(tmp_path / "out" / "saved_model")).signatures
    assert set(signatures) == {"serving_default", "encode_image", "encode_text"}
    spec = signatures["encode_image"].structured_input_signature[1]["images"]
    assert spec.dtype == tf.uint8 and spec.shape.as_list() == [None, 24, 24, 3]
    assert signatures["encode_text"].structured_input_signature[1]["ids"].dtype == tf.int32
    ids = run.tokenize(["a red heart", "cat", ""])
    for count in (1, 2, 3):
        found = signatures["encode_text"](ids=tf.constant(ids[:count]))["text_embeds"].numpy()
        np.testing.assert_allclose(found, run.model.encode_text(ids[:count]).embedding, 1e-5, 1e-5)


def test_tflite_takes_batches_of_the_size_it_was_written_for(tmp_path):
    import tensorflow as tf

    report = export(make_run("clip"), tmp_path / "out", to="tflite", batch_size=2)
    assert report["verified"]
    interpreter = tf.lite.Interpreter(str(tmp_path / "out" / "image_encoder.tflite"))
    assert interpreter.get_input_details()[0]["shape"].tolist() == [2, 24, 24, 3]


@pytest.mark.parametrize("batch_size", [0, -1])
def test_an_open_batch_is_refused_for_tflite(batch_size, tmp_path):
    with pytest.raises(ValueError, match="open batch give wrong numbers; export once for each"):
        export(make_run("clip"), tmp_path / "out", to="tflite", batch_size=batch_size)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("to", ["savedmodel", "tflite"])
def test_one_tower_alone(to, tmp_path):
    report = export(make_run("clip"), tmp_path / "out", to=to, towers="text")
    assert report["verified"] and set(report["outputs"]) == {"text_embeds"}
