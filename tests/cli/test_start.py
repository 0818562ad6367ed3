"""The start of a run: all is refused before anything is written, and what is begun is said."""

import io
import json
import os
import shlex
import signal
import tarfile

import pytest
from rich.console import Console

from experiments import emoji
from tests.small.runs import SHAPES, TINY, add, losses, write_pairs
from vlp import remote
from vlp.cli.config import load_config
from vlp.cli.main import main
from vlp.parallel.lock import Lock
from vlp.run import evaluations
from vlp.run.banner import say_start
from vlp.run.build import plan
from vlp.training.checkpoint.checkpoints import saved_steps


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def unreadable(path):
    """Pairs whose pictures are none."""
    with tarfile.open(path, "w") as tar:
        for number in range(40):
            add(tar, f"{number}.jpg", b"<html>404</html>")
            add(tar, f"{number}.txt", b"a cat")
    return path


REFUSED = {
    "--config.init.path=nowhere": "nowhere",
    "--config.evals.kinds.label=colour": "config.evals.kinds",
    "--config.evals.same.group=colour": "config.evals.same",
    "--config.evals.same.every=2 epoks": "epochs",
    "--config.checkpoint.every=2 epoks": "epochs",
    "--config.checkpoint.keep=0": "keep must be at least 1",
    "--config.report.data=nowhere.tar": "config.report.data: no data at 'nowhere.tar'",
    "--config.train.max_skipped_in_a_row=0": "max_skipped_in_a_row",
    "--config.train.watchdog_s=-1.0": "watchdog_s",
    "--config.train.evaluate=best": "config.train.evaluate is auto, params or average",
    "--config.optim.schedule.warmup=99": "config.optim.schedule.warmup=99",
    "--config.train.total=0.1 epochs": "config.train.total",
    "--config.objective.name=siglip": "the sigmoid loss needs a bias",
    "--config.train.global_batch_size=40": "more than the 36 samples",
    "--config.export.out=results": "config.export.out must be a folder in the workdir",
}


@pytest.mark.parametrize("flag", REFUSED)
def test_a_start_that_is_refused_leaves_the_workdir_as_it_was(train, tmp_path, capsys, flag):
    total = () if "total" in flag else ("--config.train.total=2 epochs",)
    code, workdir = train(flag, *total)
    assert code == 1 and REFUSED[flag] in capsys.readouterr().err
    assert not workdir.exists()


def test_data_that_cannot_be_used_are_refused_wherever_they_stand(train, tmp_path, capsys):
    bad = unreadable(tmp_path / "bad.tar")
    for flags, data, said in (
        ((), bad, "bad must hold samples that can be used"),
        ((f"--config.evals.same.data={bad}",), None, "config.evals.same: "),
        ((f"--config.report.data={bad}",), None, "config.report.data: "),
    ):
        code, workdir = train(*flags, **({} if data is None else {"data": data}))
        assert code == 1 and said in capsys.readouterr().err
        assert not workdir.exists()


def test_a_run_that_took_no_step_binds_nothing(train, monkeypatch, capsys):
    monkeypatch.setattr("vlp.run.banner.say_start", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train("--config.seed=1", "--config.tokenizer.vocab_size=310", arg="steps=2")
    monkeypatch.undo()
    code, workdir = train(arg="steps=2")
    assert code == 0, capsys.readouterr().err
    assert json.loads((workdir / "config.json").read_text())["seed"] == 0
    assert json.loads((workdir / "card.json").read_text())["model"]["text"]["vocab_size"] == 300


def test_a_folder_that_another_process_writes_to_is_left_alone(train, tmp_path, capsys):
    code, workdir = train(arg="steps=2")
    before = files(workdir)
    with Lock(workdir):
        code, _ = train(arg="steps=4")
        said = capsys.readouterr().err.strip().splitlines()
        assert code == 1 and "another process writes there, pid" in said[-1]
        assert before.items() <= files(workdir).items()
        assert len(files(workdir)) == len(before) + 1  # the lock
    assert files(workdir) == before


@pytest.mark.slow
def test_another_batch_size_gives_the_same_samples_and_epochs(train, capsys):
    units = (
        "--config.optim.schedule.warmup=0",
        "--config.checkpoint.every=1 epochs",
    )
    half = ("--config.train.total=2 epochs", "--config.train.global_batch_size=8")
    code, workdir = train(*units, *half)
    assert code == 0
    whole = ("--config.train.total=4 epochs", "--config.train.global_batch_size=24")
    code, _ = train(*units, *whole, "--accept-config-changes")
    assert code == 0, capsys.readouterr().err
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] * 36 for row in rows][8:] == pytest.approx([72, 96, 120, 144])
    assert sum(row["train/pairs"] for row in rows) == 4 * 36
    assert rows[-1]["train/lr"] < rows[-2]["train/lr"] < rows[-3]["train/lr"] < 1e-2


@pytest.mark.parametrize(
    "arguments",
    [
        ("embed", "--model=x", "--data=y", "--out=s3://b/e"),
        ("caption", "--model=x", "--data=y", "--out=gs:/b/c.jsonl"),
        ("filter", "--model=x", "--data=y", "--out=s3://b/f"),
        ("search", "--model=x", "a cat", "--out=s3://b/r.png"),
        ("data", "tokenizer", "--data=y", "--out=s3://b/t.model"),
    ],
)
def test_what_is_not_written_to_object_stores_is_refused_in_one_line(
    tmp_path, monkeypatch, capsys, arguments
):
    monkeypatch.chdir(tmp_path)
    assert main(list(arguments)) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "are written to object stores, these are not" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (("train", f"--config={TINY}", "--workdir=gs://b/run"), "pip install 'vlp[gcs]'"),
        (("import", "--from=x", "--out=s3://b/i"), "pip install 'vlp[s3]'"),
        (("export", "--model=x", "--to=hf", "--out=hdfs://b/e"), "begin with gs:// or s3://"),
        (("eval", "--model=x", "--data=y", "--task=retrieval", "--out=gs:/b/r"), "begin with gs:/"),
        (("train", f"--config={TINY}", "--workdir=s3://b"), "must be s3://BUCKET/FOLDER"),
        (("eval", "--model=s3://b/run", "--data=emoji:twemoji", "--task=retrieval"), "vlp[s3]"),
    ],
)
def test_a_store_that_cannot_be_reached_is_refused_in_one_line(
    tmp_path, monkeypatch, capsys, arguments, remedy
):
    missing = {"gs": ("gcsfs_is_not_here", "gcs"), "s3": ("s3fs_is_not_here", "s3")}
    monkeypatch.setattr(remote, "STORES", missing)
    monkeypatch.chdir(tmp_path)
    assert main(list(arguments)) in (1, 2)
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and remedy in said
    assert list(tmp_path.iterdir()) == []


def test_the_banner_says_what_begins_in_eighty_columns(pairs, tmp_path):
    config = load_config(f"{TINY}:data={pairs}", ["--config.model.attention=auto"])
    planned = plan(config, samples_per_epoch=36, step=2, samples=32)
    out = io.StringIO()
    say_start(
        config,
        planned,
        samples=36,
        step=2,
        workdir=tmp_path,
        console=Console(file=out, width=80),
    )
    said = out.getvalue()
    assert max(map(len, said.splitlines())) <= 80
    for fact in (
        "parameters (image",
        "36 samples",
        "8 cpu, mesh data 8",
        "computes in float32",
        "auto: einsum",
        "16 samples a step",
        "6 steps, 96 samples, 2.667 epochs",
        "kinds, same",
        "at step 2, epoch 0.8889",
    ):
        assert fact in said, said


def test_the_end_names_what_is_there_and_a_search_that_works(train, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["/somewhere/bin/vlp"])
    monkeypatch.setattr("vlp.terminal.shutil.which", lambda name: None)
    code, workdir = train("--config.report.data=", arg="steps=2")
    lines = capsys.readouterr().out.splitlines()
    said = dict(line.split(maxsplit=1) for line in lines if len(line.split()) > 1)
    assert json.loads((workdir / "data.json").read_text())["training"][0]["samples"] == 36
    assert said["checkpoints"] == str(workdir / "checkpoints")
    assert said["TensorBoard"].endswith(f"tensorboard --logdir={workdir / 'tensorboard'}")
    program, *command = said["try"].split(" ", 1)
    assert program == "/somewhere/bin/vlp"
    assert main(shlex.split(command[0])) == 0


@pytest.mark.slow
def test_an_evaluation_that_fails_later_is_left_out_and_counted(train, monkeypatch, capsys):
    before = evaluations.evaluate

    def evaluate(evaluator, task, **settings):
        if task == "classification":
            raise OSError("the disk with it is gone")
        return before(evaluator, task, **settings)

    monkeypatch.setattr(evaluations, "evaluate", evaluate)
    code, workdir = train("--config.evals.kinds.every=2 steps", arg="steps=4")
    assert code == 0 and sorted(losses(workdir)) == [1, 2, 3, 4]
    said = capsys.readouterr().out
    assert said.count("left out     kinds at step") == 2 and "the disk with it is gone" in said
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if row.get("eval/kinds/failed")] == [2, 4]
    assert "eval/same/text_to_image/R@1" in rows[-1]


def test_a_score_that_is_not_finite_is_said_and_ends_no_run(train, monkeypatch, caplog):
    before = evaluations.evaluate

    def evaluate(evaluator, task, **settings):
        result = before(evaluator, task, **settings)
        if task == "classification":
            result["metrics"]["top1"] = float("nan")
        return result

    monkeypatch.setattr(evaluations, "evaluate", evaluate)
    code, workdir = train("--config.evals.kinds.every=2 steps", arg="steps=4")
    assert code == 0 and sorted(losses(workdir)) == [1, 2, 3, 4]
    assert "kinds at step 2: not finite, null in its file: top1" in caplog.text
    metrics = json.loads((workdir / "results" / "kinds.json").read_text())["metrics"]
    assert metrics["top1"] is None and metrics["mean_per_class_recall"] >= 0
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["eval/kinds/top1"] is None


def test_a_result_that_cannot_be_written_is_left_out(train, monkeypatch, capsys):
    def full(path, value):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(evaluations, "write_json", full)
    code, _ = train(arg="steps=2")
    said = capsys.readouterr().out
    assert code == 0 and "left out     same at step 2: [Errno 28] No space" in said


@pytest.mark.parametrize(
    ("settings", "evaluated"),
    [
        (dict(model="clip"), "averaged"),
        (dict(model="albef"), "params"),
        (dict(model="blip"), "params"),
        (dict(model="albef", ema_decay=0.99), "averaged"),
        (dict(model="clip", evaluate="params"), "params"),
        (dict(model="clip", ema_decay=0.0), "params"),
    ],
)
def test_the_average_is_judged_where_there_is_one(settings, evaluated):
    config = emoji.get_config(f"model={settings.pop('model')}")
    config.train.update(settings)
    assert plan(config, samples_per_epoch=3000).evaluated == evaluated


def test_an_average_that_is_not_kept_cannot_be_judged():
    config = emoji.get_config()
    config.train.update(ema_decay=0.0, evaluate="average")
    with pytest.raises(ValueError, match="config.train.ema_decay is 0"):
        plan(config, samples_per_epoch=3000)


@pytest.mark.slow
def test_a_run_that_saw_too_many_bad_samples_ends_with_their_reason(train, tmp_path, capsys):
    data = write_pairs(tmp_path / "some.tar", replace={"red-bar-0.png": b"", "red-dot-1.png": b""})
    code, workdir = train("--config.train.global_batch_size=32", arg="steps=1", data=data)
    assert code == 1
    said = capsys.readouterr().err
    assert "of the samples may be bad" in said and "image empty" in said
    assert (workdir / "checkpoints" / "1").exists()


def test_a_run_that_is_told_to_stop_saves_whatever_it_saw(train, tmp_path, monkeypatch, capsys):
    bad = {f"{colour}-{shape}-0.png": b"" for colour in ("red", "green") for shape in SHAPES}
    data = write_pairs(tmp_path / "some.tar", replace=bad)
    before = evaluations.evaluate

    def evaluate(evaluator, task, **settings):
        os.kill(os.getpid(), signal.SIGTERM)
        return before(evaluator, task, **settings)

    monkeypatch.setattr(evaluations, "evaluate", evaluate)
    code, workdir = train("--config.evals.kinds.every=1 steps", data=data)
    assert code == 75, capsys.readouterr().err
    assert saved_steps(workdir / "checkpoints") == [1]
