"""What is wrong is refused with the rule, the value and the remedy, and nothing is half-written."""

import json

import pytest

from tests.small.runs import losses, picture, write_pairs
from vlp.cli.main import _command_parsers, main


def refusal(capsys, *arguments, code=1) -> str:
    """What `vlp` says when it refuses."""
    assert main(list(arguments)) == code
    said = capsys.readouterr().err
    assert said.startswith("vlp: ") and "Traceback" not in said
    return said


def test_nothing_and_help_explain_themselves(capsys):
    assert main([]) == 0
    assert "vlp train" in capsys.readouterr().out
    for command in _command_parsers()[1]:
        with pytest.raises(SystemExit, match="0"):
            main([command, "--help"])
        assert "--" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["trian"], "did you mean train?"),
        (["eval", "--workdri=x"], "did you mean --workdir?"),
        (["train", "--confg=x.py", "--workdir=x"], "did you mean --config?"),
        (["data", "tokenizer", "--dta=x", "--out=y"], "did you mean --data?"),
        (["train", "--workdir=x"], "--config"),
        (["export", "--workdir=x", "--to=onnyx", "--out=y"], "hf"),
        (["data", "indx", "x.tar"], "index"),
    ],
)
def test_a_mistyped_command_line_names_what_is_right(capsys, arguments, said):
    assert said in refusal(capsys, *arguments, code=2)


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--config.optim.schedule.peek=1", "did you mean config.optim.schedule.peak?"),
        ("--config.trian.total=9", "did you mean config.train.total?"),
        ("--config.train.global_batch_size=many", "global_batch_size"),
        ("--confg.train.total=9", "unknown argument --confg.train.total"),
        ("--worksdir=9", "did you mean --workdir?"),
        ("--config.train.total=9 epoks", '"9 epochs"'),
        ("--config.optim.optimizer.name=adamm", "adamw"),
        ("--config.objective.name=klip", "clip, coca"),
        ("--config.evals.same.task=serach", "config.evals.same: task must be one of retrieval"),
        ("--config.train.global_batch_size=100", "try 96 or 104"),
        ("--config.mesh.fsdp=3", "fsdp"),
        ("--config.optim.freeze=('imag/.*',)", 'did you mean "image/.*"?'),
        ("--config.model.image.patch_size=7", "must divide by patch_size 7"),
        ("--config.model.image.pool=max", "cls, mean, map"),
        ("--config.model.image.pool=mean", "accepted: 'cls'"),
        ("--config.tokenizer.path=nowhere.model", "nowhere.model"),
        ("--config.tokenizer.vocab_size=20", "vocab_size must be at least"),
    ],
)
def test_a_wrong_setting_is_refused_before_anything_is_trained(train, capsys, flag, said):
    code, workdir = train(flag)
    assert code in (1, 2)
    assert said in capsys.readouterr().err
    assert not (workdir / "metrics.jsonl").exists() and not (workdir / "exported").exists()


@pytest.mark.slow
def test_a_workdir_of_another_config_is_refused_with_the_difference(train, capsys):
    _, workdir = train(arg="steps=2")
    before = {path: path.read_bytes() for path in workdir.rglob("*") if path.is_file()}
    code, _ = train("--config.seed=1", arg="steps=2")
    assert code == 1
    said = capsys.readouterr().err
    assert "config.seed: 0 there, 1 here" in said and "--accept-config-changes" in said
    assert before == {path: path.read_bytes() for path in workdir.rglob("*") if path.is_file()}


def test_a_folder_with_other_files_is_refused(train, tmp_path, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("dear reader")
    code, workdir = train()
    assert code == 1 and "holds other files" in capsys.readouterr().err
    assert [path.name for path in workdir.iterdir()] == ["thesis.tex"]


def test_a_tar_cut_off_in_the_middle_is_named_and_stops_a_run_where_it_is_too_much(
    train, pairs, capsys
):
    pairs.write_bytes(pairs.read_bytes()[: 512 * 33 + 100])
    code, _ = train()
    said = capsys.readouterr()
    assert code == 1 and "pairs.tar" in said.out
    assert "got 18.8% (3 of 16) in pairs: shard damaged 3; repair the data" in said.err


def test_no_data_names_what_is_there(train, tmp_path, capsys):
    write_pairs(tmp_path / "real.tar")
    code, _ = train(data=tmp_path / "unreal.tar")
    assert code == 1 and "real.tar" in capsys.readouterr().err


@pytest.mark.slow
def test_bad_samples_are_counted_and_leave_the_rest_alone(train, tmp_path, capsys):
    bad = {
        "red-square-0.png": picture("red", "square")[:60],
        "red-bar-0.png": b"",
        "red-dot-0.png": b"<html><body>404</body></html>",
        "green-bar-0.txt": b"   \n",
        "green-dot-0.txt": b"\xff\xfe caption",
    }
    data = write_pairs(tmp_path / "bad.tar", replace=bad)
    code, workdir = train("--config.data.max_reject_share=0.5", arg="steps=9", data=data)
    assert code == 0
    said = capsys.readouterr().out
    for reason in ("image truncated", "image empty", "caption empty", "caption not utf-8"):
        assert reason in said
    assert all(loss == loss for loss in losses(workdir).values())
    lines = [json.loads(line) for line in (workdir / "rejects.jsonl").read_text().splitlines()]
    assert {line["key"] for line in lines} == {name.split(".")[0] for name in bad}
    assert {line["file"] for line in lines} == {str(data)}
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    read = rows[-1]["step"] * 16
    assert rows[-1]["data/rejected"] == len(lines) / read
    assert f"{read} samples read, {read - len(lines)} used, {len(lines)} rejected: " in said


@pytest.mark.slow
def test_a_missing_or_damaged_checkpoint_falls_back_to_the_one_before(train, caplog):
    _, workdir = train()
    whole = losses(workdir)
    newest = workdir / "checkpoints" / "6"
    largest = max((p for p in newest.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.write_bytes(data)
    code, _ = train()
    assert code == 0 and losses(workdir) == whole
    assert "damaged" in caplog.text and "resuming at step 4" in caplog.text


def test_eval_refuses_a_setting_of_the_other_task(train, pairs, capsys):
    said = refusal(
        capsys, "eval", "--workdir=x", f"--data={pairs}", "--task=retrieval", "--label=kind"
    )
    assert "--label does not belong to --task=retrieval" in said


def test_eval_of_a_folder_that_is_no_run_says_what_a_run_is(tmp_path, pairs, capsys):
    said = refusal(capsys, "eval", f"--workdir={tmp_path}", f"--data={pairs}", "--task=retrieval")
    assert "checkpoints" in said


def test_an_unknown_label_names_the_fields_there_are(train, pairs, capsys):
    _, workdir = train(arg="steps=2")
    said = refusal(
        capsys, "eval", f"--workdir={workdir}", f"--data={pairs}", "--task=classification",
        "--label=colour",
    )  # fmt: skip
    assert "kind" in said


def test_export_leaves_an_existing_folder_alone(train, tmp_path, capsys):
    _, workdir = train(arg="steps=2")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    said = refusal(capsys, "export", f"--workdir={workdir}", "--to=hf", f"--out={tmp_path / 'out'}")
    assert "--overwrite" in said
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--config.export.to=hf", "the shape of transformers' CLIPModel"),
        ("--config.export.to=open-clip", "hf, open_clip"),
        ("--config.model.decoder.activation=relu", "decoder.activation must be 'gelu'"),
    ],
)
def test_an_export_that_cannot_be_is_refused_before_training(train, capsys, flag, said):
    code, workdir = train(flag, arg="objective=coca")
    assert code == 1 and said in capsys.readouterr().err
    assert not (workdir / "metrics.jsonl").exists()


@pytest.mark.slow
def test_an_export_in_place_of_other_files_is_refused_before_training(train, tmp_path, capsys):
    _, workdir = train(arg="steps=2")
    (workdir / "notes").mkdir()
    (workdir / "notes" / "mine.txt").write_text("mine")
    flags = ("--config.export.out=notes", "--accept-config-changes")
    code, _ = train(*flags, arg="steps=4")
    assert code == 1 and "only an earlier export is overwritten" in capsys.readouterr().err
    assert sorted(losses(workdir)) == [1, 2]
