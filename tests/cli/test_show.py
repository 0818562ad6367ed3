"""`vlp config`: what a config says and where from, and which configs there are."""

import json
from pathlib import Path

import pytest

import experiments
from tests.cli.test_refusals import refusal
from vlp.cli.config import load_config
from vlp.cli.main import main
from vlp.run.values import as_json

OWN = "experiments/own_data.py:data=x,res=256"


def shown(capsys, *arguments) -> list[list[str]]:
    assert main(["config", "show", *arguments]) == 0
    return [line.split() for line in capsys.readouterr().out.splitlines()]


def test_every_value_says_where_it_is_from(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    rows = shown(capsys, f"--config={OWN}", "--config.model.image.dtype=bfloat16")
    said = {row[0]: (" ".join(row[1:]), i) for i, row in enumerate(rows) if row}
    for key, value in {
        "data.train": "'x' argument data",
        "preprocess.size": "256 argument res",
        "model.image.dtype": "'bfloat16' flag",
        "model.image.width": "384 preset clip/ViT-S/16",
        "model.image.attention": "'einsum' default",
        "optim.schedule.peak": "0.001 file",
        "seed": "0 usual",
        "preset": "'clip/ViT-S/16' name only",
    }.items():
        assert said[key][0] == value


@pytest.mark.parametrize("columns", ["40", "80", "100"])
def test_it_fits_into_80_columns_or_what_there_is(capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    main(["config", "show", f"--config={OWN}"])
    main(["config", "list"])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= max(int(columns), 80)


def test_as_json_it_is_the_config_of_a_run(capsys):
    flags = ["--config.model.text.remat=full"]
    assert main(["config", "show", f"--config={OWN}", *flags, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["config"] == as_json(load_config(OWN, flags))
    assert said["origin"]["model.text.remat"] == "flag"


def test_the_list_holds_every_installed_experiment_with_its_first_line(capsys):
    assert main(["config", "list"]) == 0
    said = capsys.readouterr().out
    for path in Path(experiments.__path__[0]).glob("*.py"):
        if path.name not in ("__init__.py", "common.py"):
            assert f"experiments/{path.name}" in said
            assert path.read_text().split('"""')[1].split()[0] in said


def test_what_train_refuses_is_refused_here_too(capsys):
    said = refusal(capsys, "config", "show", f"--config={OWN}", "--config.model.image.dtyp=x")
    assert "did you mean config.model.image.dtype?" in said
    said = refusal(capsys, "config", "show", "--config=own_data")
    assert "did you mean experiments/own_data.py?" in said
    assert "must name a file" in refusal(capsys, "config", "show", "--config=:size=16")
    assert "needs a value" in refusal(capsys, "config", "show", "--config=", code=2)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def get_config(arg=''):\n    return 1 + arg\n", "line 2, in get_config: TypeError"),
        ("def get_config(arg=''):\n    return int('many')\n", "line 2, in get_config: ValueError"),
        ("import nowhere\n", "line 1, in <module>: ModuleNotFoundError"),
        ("def get_config(:\n", "line 1: SyntaxError"),
        ("x = 1\n", "must define get_config(arg): KeyError"),
        ("def get_config(arg=''):\n    raise ValueError('no ' + 'luck')\n", "vlp: no luck\n"),
        ("def get_config():\n    return 3\n", "must return a ConfigDict, got int"),
    ],
)
def test_a_mistake_in_a_config_file_is_one_line_with_its_place(capsys, tmp_path, code, said):
    file = tmp_path / "mine.py"
    file.write_text(code)
    told = refusal(capsys, "config", "show", f"--config={file}")
    assert said in told and told.count("\n") == 1
