"""The page docs/a_new_objective.md: its code is run as a reader would, a file each and no edit."""

import json
import re
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import vlp.objectives
from tests.small.runs import _own_cache, pairs, train
from vlp.objectives import Objective, objectives

__all__ = ["_own_cache", "pairs", "train"]
PAGE = Path(__file__).parents[1] / "docs" / "a_new_objective.md"
BLOCKS = dict(re.findall(r"```python\n# (\S+)\n(.*?)```", PAGE.read_text(), flags=re.S))
WRITTEN = {Path(name).stem: code for name, code in BLOCKS.items() if name.startswith("vlp/")}


@pytest.fixture
def written(tmp_path, monkeypatch):
    """The page's files in the folder of objectives."""
    folder = tmp_path / "objectives"
    folder.mkdir()
    for name, code in WRITTEN.items():
        (folder / f"{name}.py").write_text(code)
    monkeypatch.setattr(vlp.objectives, "__path__", [*vlp.objectives.__path__, str(folder)])
    objectives.cache_clear()
    yield folder
    objectives.cache_clear()
    for name in WRITTEN:
        sys.modules.pop(f"vlp.objectives.{name}", None)


def test_the_page_has_two_objectives_and_a_test():
    assert set(WRITTEN) == {"margin_triplet", "late_interaction"} and len(BLOCKS) == 3


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITTEN)
def test_an_objective_of_the_page_trains_is_evaluated_and_resumes(written, train, name):
    flags = (f"--config.objective.name={name}", "--config.export.to=hf")
    assert train(*flags, "--config.train.total=4 steps")[0] == 0
    code, workdir = train(*flags, "--config.train.total=8 steps", "--accept-config-changes")
    assert code == 0
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 9))
    assert rows[-1]["train/loss"] < rows[0]["train/loss"]
    assert any("eval/same/text_to_image/R@1" in row for row in rows)


def test_a_misspelt_setting_of_it_is_refused(written, train, capsys):
    code, _ = train("--config.objective.name=margin_triplet", "--config.objective.margni=0.3")
    assert code and "margin" in capsys.readouterr().err


def test_the_test_of_the_page_holds(written):
    namespace: dict = {}
    exec(compile(BLOCKS["tests/objectives/test_margin_triplet.py"], str(PAGE), "exec"), namespace)
    namespace["test_the_loss_is_that_of_the_hardest_wrong_partners"]()


def test_a_file_without_an_objective_is_refused_by_name(written):
    (written / "empty.py").write_text('"""Nothing."""\n')
    with pytest.raises(ValueError, match=r"empty\.py must have one class with the base .*got 0"):
        objectives()


def test_a_package_brings_objectives_by_entry_points(monkeypatch):
    points = [EntryPoint("theirs", "tests.training.toy:ToyClip", "vlp.objectives")]
    monkeypatch.setattr(vlp.objectives, "entry_points", lambda group: points)
    objectives.cache_clear()
    try:
        assert Objective in objectives()["theirs"].__mro__
        points.append(EntryPoint("clip", "tests.training.toy:ToyClip", "vlp.objectives"))
        objectives.cache_clear()
        with pytest.raises(ValueError, match="an objective's name must be its own"):
            objectives()
        points[:] = [EntryPoint("wrong", "json:dumps", "vlp.objectives")]
        with pytest.raises(ValueError, match="json:dumps of an installed package must be a class"):
            objectives()
    finally:
        objectives.cache_clear()
