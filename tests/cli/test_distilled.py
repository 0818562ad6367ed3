"""A student's whole run: taught by a run, gone on to the bit, and used without its teacher."""

import json
import shutil

import jax
import numpy as np
import pytest

import vlp
from tests.small.runs import SMALL, losses
from vlp.cli.main import main
from vlp.training.checkpoint.checkpoints import load_params


@pytest.fixture
def distil(pairs, tmp_path):
    """Trains a student of the run `teacher`: (exit code, workdir)."""

    def run(workdir="student", *flags):
        config = f"{SMALL / 'distilled.py'}:data={pairs},teacher={tmp_path / 'teacher'}"
        folder = tmp_path / workdir
        return main(["train", f"--config={config}", f"--workdir={folder}", *flags]), folder

    return run


@pytest.mark.slow
def test_a_student_is_taught_goes_on_to_the_bit_and_needs_its_teacher_no_more(
    train, distil, pairs, tmp_path, capsys
):
    assert train(arg="steps=2", workdir="teacher")[0] == 0
    code, student = distil()
    assert code == 0
    row = json.loads((student / "metrics.jsonl").read_text().splitlines()[-1])
    assert all(row[f"train/{term}_loss"] > 0 for term in ("contrastive", "affinity", "feature"))
    assert set(load_params(student / "checkpoints")) == set(
        load_params(tmp_path / "teacher/checkpoints")
    )

    stopped = shutil.copytree(student, tmp_path / "stopped")
    shutil.rmtree(stopped / "checkpoints" / "4")
    assert distil("stopped")[0] == 0 and losses(stopped) == losses(student)
    got, want = (load_params(folder / "checkpoints") for folder in (stopped, student))
    jax.tree.map(np.testing.assert_array_equal, got, want)

    shutil.rmtree(stopped / "checkpoints" / "4")
    (tmp_path / "teacher").rename(tmp_path / "first")
    assert train("--config.seed=1", arg="steps=2", workdir="teacher")[0] == 0
    capsys.readouterr()
    assert distil("stopped")[0] == 1
    said = capsys.readouterr().err
    assert "config.frozen.teacher must be what the run has looked at so far" in said

    shutil.rmtree(tmp_path / "teacher")
    shutil.rmtree(tmp_path / "first")
    model, _, tokenize = vlp.load(student)
    assert model.kwargs["image"]["depth"] == 1
    assert model.encode_text(tokenize(["a red square"])).embedding.shape == (1, 16)
    given = [f"--model={student}", f"--data={pairs}"]
    out = tmp_path / "result.json"
    assert main(["eval", *given, "--task=retrieval", f"--out={out}"]) == 0
    assert main(["embed", *given, f"--out={tmp_path / 'vectors'}"]) == 0
    assert main(["search", *given, f"--out={tmp_path / 's.png'}", "a red square"]) == 0
    assert json.loads((student / "exported" / "parity.json").read_text())["verified"] is True


@pytest.mark.slow
def test_stored_vectors_of_every_augmentation_teach_as_the_model_itself(
    train, distil, pairs, tmp_path
):
    _, teacher = train(arg="steps=2", workdir="teacher")
    code, by_model = distil("by-model")
    config = f"{SMALL / 'distilled.py'}:data={pairs},teacher={teacher}"
    made = [f"--model={teacher}", f"--data={pairs}", f"--out={tmp_path / 'vectors'}"]
    views = ["--captions=all", "--views=2", f"--config={config}"]  # as many as there are epochs
    assert code == 0 and main(["embed", *made, *views]) == 0
    scale = float(np.exp(vlp.load(teacher)[0].log_scale[...]))
    config = (
        f"{SMALL / 'distilled.py'}:data={pairs},teacher={teacher},vectors={tmp_path / 'vectors'}"
    )
    flags = [f"--config.objective.teacher_scales=({scale},)", f"--workdir={tmp_path / 'stored'}"]
    assert main(["train", f"--config={config}", *flags]) == 0
    want = losses(by_model)
    got = losses(tmp_path / "stored")
    assert list(got) == list(want) == [1, 2, 3, 4]
    np.testing.assert_allclose(list(got.values()), list(want.values()), rtol=1e-4)


@pytest.mark.slow
def test_a_teacher_is_asked_for_by_its_objective_alone(train, distil, tmp_path, capsys):
    assert train(arg="steps=2", workdir="teacher")[0] == 0
    assert distil("wrong", "--config.objective.teachers=('another',)")[0] == 1
    said = capsys.readouterr().err
    looks = "what objective distillation and the model look at, another, got teacher"
    assert f"config.frozen must name {looks}" in said
    assert not (tmp_path / "wrong").exists()
