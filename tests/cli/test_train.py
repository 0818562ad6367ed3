"""A whole run from one command: trained, judged, reported, exported; resumed to the bit."""

import json
import random
import shutil
import signal
import subprocess
import time

import jax
import numpy as np
import pytest

import vlp
from data_pipelines.text import BEGIN_ID, SentencePieceTokenizer
from tests.small.runs import TINY, command, losses
from vlp.cli.main import main
from vlp.interop.load import load_run
from vlp.training.checkpoint import contents
from vlp.training.checkpoint.checkpoints import (
    find_checkpoint,
    load_params,
    read_json,
    saved_steps,
)


def test_one_command_trains_judges_reports_and_exports(train, capsys):
    code, workdir = train()
    assert code == 0
    said = capsys.readouterr().out
    assert "text → image" in said and "chance" in said and "report.html" in said
    assert sorted(losses(workdir)) == [1, 2, 3, 4, 5, 6]
    result = json.loads((workdir / "results" / "same.json").read_text())
    assert result["step"] == 6 and result["samples"] == 36
    assert "red/text_to_image/R@1" in result["metrics"]
    assert json.loads((workdir / "results" / "kinds.json").read_text())["counts"]["classes"] == 3
    parity = json.loads((workdir / "exported" / "parity.json").read_text())
    assert parity["verified"] is True
    page = (workdir / "report.html").read_text()
    assert "data:image/" in page and "a red square" in page
    for name in ("config.json", "card.json", "versions.json", "tokenizer.model", "tensorboard"):
        assert (workdir / name).exists(), name
    row = json.loads((workdir / "metrics.jsonl").read_text().splitlines()[2])
    for name in ("perf/pairs_per_s", "perf/step_s", "perf/data_wait_s", "perf/peak_memory_gb"):
        assert row[name] >= 0
    # What the time went into: in each row, at the end, and on the page.
    assert row["time/compile_s"] > 0 and 0 < row["perf/goodput"] < 1
    assert "of 1 start: steps 0:00:" in said
    assert "time, all starts" in page and "compiling" in page


@pytest.mark.slow
def test_siglip_trains_with_the_same_command(train):
    code, workdir = train(arg="steps=3,objective=siglip")
    assert code == 0 and len(losses(workdir)) == 3


@pytest.mark.slow
def test_coca_trains_judges_and_exports_with_the_same_command(train, pairs):
    code, workdir = train(arg="steps=3,objective=coca")
    assert code == 0 and len(losses(workdir)) == 3
    row = json.loads((workdir / "metrics.jsonl").read_text().splitlines()[-1])
    assert 0 < row["train/caption_loss"] < np.log(300) + 1
    assert 0 <= row["train/caption_accuracy"] <= 1
    assert (workdir / "exported" / "open_clip_config.json").exists()
    model, preprocess, tokenize = vlp.load(workdir)
    image = model.encode_image(preprocess([np.zeros((30, 20, 3), np.uint8)]))
    ids = tokenize(["a red square"])
    text = model.encode_text(ids)
    assert ids[0, 0] == BEGIN_ID
    assert model.decode(image, text, ids).shape == (1, 7, 300)
    exported, written = f"open_clip:{workdir / 'exported'}", []
    for number, source in enumerate((workdir, exported)):
        out = workdir / f"captions-{number}.jsonl"
        assert main(["caption", f"--model={source}", f"--data={pairs}", f"--out={out}"]) == 0
        found = [json.loads(line) for line in out.read_bytes().splitlines()]
        assert len(found) == 36 and all("caption" in line for line in found)
        written.append([line["score"] for line in found])  # bytes that are no text read otherwise
    np.testing.assert_allclose(*written, atol=1e-4)


@pytest.mark.slow
def test_albef_trains_and_judges_with_the_same_command_and_can_be_loaded(train):
    code, workdir = train(arg="steps=3,objective=albef")
    assert code == 0 and len(losses(workdir)) == 3
    row = json.loads((workdir / "metrics.jsonl").read_text().splitlines()[-1])
    for name in ("contrastive_loss", "matching_loss", "masked_loss"):
        assert row[f"train/{name}"] > 0
    for name in ("same/reranked/text_to_image/R@1", "matching/all/auc"):
        assert 0 <= row[f"eval/{name}"] <= 1
    assert row["eval/masked_words/own_image/nats"] > 0  # hidden by the mask of the objective
    model, preprocess, tokenize = vlp.load(workdir)
    image = model.encode_image(preprocess([np.zeros((30, 20, 3), np.uint8)]))
    text = tokenize(["a red square"])
    assert model.match(image, model.encode_text(text), text).shape == (1, 2)
    assert load_run(workdir).weights == "params"  # the student, as it was judged
    assert model.predict_tokens(image, text).shape == (1, 8, 301)


@pytest.mark.slow
def test_blip_trains_and_is_exported_in_the_mode_that_the_config_names(train):
    code, workdir = train(arg="steps=3,objective=blip")
    assert code == 0 and len(losses(workdir)) == 3
    config = json.loads((workdir / "exported" / "config.json").read_text())
    assert config["architectures"] == ["BlipForConditionalGeneration"]


@pytest.mark.slow
def test_it_trains_with_a_published_tokenizer_and_goes_on_with_it(train, tmp_path, capsys):
    words = [*"[PAD] [UNK] [CLS] [SEP] [MASK] a red green blue square bar dot frame".split()]
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "vocab.txt").write_text("\n".join(words))
    (tmp_path / "bert" / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    flags = (
        f"--config.tokenizer.path={tmp_path / 'bert'}",
        "--config.tokenizer.eos_id=3",
        f"--config.tokenizer.vocab_size={len(words)}",
    )
    assert train(*flags, arg="steps=2,objective=siglip")[0] == 0
    (tmp_path / "bert" / "vocab.txt").unlink()  # the run has its own
    (tmp_path / "bert" / "tokenizer_config.json").unlink()
    code, workdir = train(*flags, arg="steps=2,objective=siglip")
    assert code == 0
    _, _, tokenize = vlp.load(workdir)
    assert tokenize(["a red square"])[0, :5].tolist() == [2, 5, 6, 9, 3]


def test_a_tokenizer_trained_apart_begins_captions_where_that_is_asked_for(pairs, tmp_path):
    path = tmp_path / "words.model"
    line = ["data", "tokenizer", f"--data={pairs}", f"--out={path}", "--vocab-size=300"]
    assert main([*line, "--begin"]) == 0
    for begin in (True, False):
        ids = SentencePieceTokenizer.load(path, begin=begin).encode(["a red square"], 8)
        assert bool(ids[0, 0] == BEGIN_ID) is begin


def test_five_lines_of_python_give_zero_shot(train, pairs):
    _, workdir = train(arg="steps=2")
    model, preprocess, tokenize = vlp.load(workdir)
    zimg = model.encode_image(preprocess([np.zeros((30, 20, 3), np.uint8)])).embedding
    ztxt = model.encode_text(tokenize(["a red square", "a blue bar"])).embedding
    assert (zimg @ ztxt.T).shape == (1, 2)
    np.testing.assert_allclose(np.linalg.norm(ztxt, axis=1), 1, rtol=1e-5)


def test_eval_search_and_export_work_on_a_finished_run(train, pairs, tmp_path, capsys):
    _, workdir = train(arg="steps=2")
    out = tmp_path / "result.json"
    assert main(["eval", f"--workdir={workdir}", f"--data={pairs}", "--task=retrieval",
                 f"--out={out}"]) == 0  # fmt: skip
    ours = json.loads(out.read_text())["metrics"]
    assert ours == {
        key: value
        for key, value in json.loads((workdir / "results/same.json").read_text())["metrics"].items()
        if key in ours
    }
    assert main(["search", f"--workdir={workdir}", "--top=3", "a red square"]) == 0
    assert (workdir / "search.png").read_bytes().startswith(b"\x89PNG")
    assert main(["export", f"--workdir={workdir}", "--to=hf", f"--out={tmp_path / 'hf'}"]) == 0
    assert (tmp_path / "hf" / "model.safetensors").exists()


@pytest.mark.slow
def test_a_finished_run_started_again_changes_nothing(train):
    _, workdir = train()
    before = losses(workdir)
    code, _ = train()
    assert code == 0 and losses(workdir) == before


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["clip", "albef"])
def test_a_run_killed_three_times_equals_one_that_was_not(pairs, tmp_path, objective):
    config = f"--config={TINY}:data={pairs},steps=24,objective={objective}"
    flags = ["--config.report.data=", "--log-ids"]

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    _finish(_start(whole, config, *flags), whole)
    for step in sorted(random.Random(time.time()).sample(range(2, 23), 3)):
        process = _start(killed, config, *flags)
        _wait_for_step(killed, step, process)
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=60)
    _finish(_start(killed, config, *flags), killed)

    assert losses(killed) == losses(whole)
    got, want = (_last_state(folder) for folder in (killed, whole))
    average = "momentum" if objective == "albef" else "averaged"
    assert want["state"].keys() >= {"params", "opt_state", "step", average}
    if objective == "albef":
        assert want["state"]["carry"]["batches"] == 24  # the queue holds two: it went round
    jax.tree.map(np.testing.assert_array_equal, got, want)
    assert _ids(killed) == _ids(whole)
    stream = [i for step in sorted(_ids(killed)) for i in _ids(killed)[step]]
    for epoch in range(len(stream) // 36):
        assert sorted(stream[36 * epoch : 36 * (epoch + 1)]) == list(range(36))


def _last_state(workdir):
    """All arrays of the last checkpoint, momentum and queue too, and where the data stood."""
    folder = find_checkpoint(workdir / "checkpoints", step=24)
    arrays = contents.read_arrays(folder, contents.saved_shapes(folder))
    return {"state": arrays, "loader": read_json(folder, "loader")}


def _start(workdir, config, *flags):
    """`vlp train` in a process of its own, what it says in WORKDIR.log."""
    line, environment = command("train", config, f"--workdir={workdir}", *flags)
    with workdir.with_suffix(".log").open("w") as log:
        return subprocess.Popen(line, env=environment, stdout=log, stderr=subprocess.STDOUT)


def _finish(process, workdir, *, code=0):
    said = workdir.with_suffix(".log")
    assert process.wait(timeout=240) == code, said.read_text()
    return said.read_text()


def _wait_for_step(workdir, step, process):
    deadline = time.monotonic() + 240
    path = workdir / "metrics.jsonl"
    while process.poll() is None and time.monotonic() < deadline:
        if path.exists() and path.read_bytes().count(b"\n") >= step:
            return
        time.sleep(0.01)


def _ids(workdir):
    rows = [json.loads(line) for line in (workdir / "ids.jsonl").read_text().splitlines()]
    return {row["step"]: row["ids"] for row in rows}


@pytest.mark.slow
def test_sigterm_saves_and_exits_with_75(pairs, tmp_path):
    workdir = tmp_path / "run"
    process = _start(
        workdir, f"--config={TINY}:data={pairs},steps=100000", "--config.checkpoint.every=0 steps"
    )
    _wait_for_step(workdir, 3, process)
    process.send_signal(signal.SIGTERM)
    assert "after saving" in _finish(process, workdir, code=75)
    assert any(path.name.isdecimal() for path in (workdir / "checkpoints").iterdir())


@pytest.mark.slow
def test_a_frozen_tower_from_another_run_stays_as_it_was(train, tmp_path):
    _, other = train(arg="steps=2", workdir="other")
    code, workdir = train(
        f"--config.init.path={other}", "--config.init.only=('image/.*',)",
        "--config.optim.freeze=('image/.*',)", arg="steps=3", workdir="lit",
    )  # fmt: skip
    assert code == 0
    before, after = (load_params(folder / "checkpoints") for folder in (other, workdir))
    same = jax.tree.map(np.array_equal, before, after)
    assert all(jax.tree.leaves(same["image"])) and not all(jax.tree.leaves(same["text"]))


def test_resume_refuses_to_begin_anew(train, capsys):
    code, workdir = train("--resume")
    assert code == 1 and "--resume needs a run" in capsys.readouterr().err
    assert not workdir.exists()


@pytest.mark.slow
def test_resume_refuses_a_run_whose_checkpoints_are_gone(train, capsys, caplog):
    _, workdir = train(arg="steps=2")
    whole = losses(workdir)
    shutil.rmtree(workdir / "checkpoints")
    code, _ = train("--resume", arg="steps=2")
    assert code == 1 and "--resume needs a checkpoint" in capsys.readouterr().err
    assert losses(workdir) == whole
    code, _ = train(arg="steps=2")
    assert code == 0 and "has no checkpoint: its steps are done again" in caplog.text


@pytest.mark.slow
def test_a_checkpoint_of_every_so_many_epochs_is_kept(train):
    _, workdir = train(
        "--config.checkpoint.every=1 epochs", "--config.checkpoint.keep_every=3 epochs",
        "--config.checkpoint.keep=1", "--config.train.total=8 epochs",
    )  # fmt: skip
    assert saved_steps(workdir / "checkpoints") == [8, 14, 18]  # 128, 224 and 288 of 36 samples


def test_checkpoints_and_evaluations_of_less_than_a_step_are_of_each_step(train):
    often = ("--config.checkpoint.every=5 samples", "--config.evals.kinds.every=0.01 epochs")
    code, workdir = train(*often, arg="steps=3")
    assert code == 0 and saved_steps(workdir / "checkpoints") == [1, 2, 3]
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert all("eval/kinds/top1" in row for row in rows) and len(rows) == 3
