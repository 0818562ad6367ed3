"""Sets of suites, and the loss on held-out pairs, as evaluations of a training."""

import gc
import json
import weakref

import pytest

from tests.sweeps.small_sweep import made
from vlp.sweeps.vectors import MemoryStore


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Sets in CLIP_benchmark's layout."""
    return made(tmp_path_factory.mktemp("made"))


CONFIG = '''
"""The small run of the tests, judged by sets of a suite."""
from ml_collections import ConfigDict
from tests.small import config as small

def get_config(arg=""):
    config = small.get_config(arg)
    common = dict(suite={suite!r}, data={root!r}, every="3 steps", draws=20)
    config.evals, config.export, config.report.data = ConfigDict(), ConfigDict(), ""
    config.evals.kinds80 = ConfigDict(dict(entry="classification", limit=40, **common))
    config.evals.found = ConfigDict(dict(entry="retrieval", **common))
    config.evals.held_out = ConfigDict(dict(task="loss", data=config.data.train, every="3 steps"))
    return config
'''


def test_entries_of_a_suite_and_the_loss_are_judged_in_training(root, train, pairs, tmp_path):
    from vlp.cli.main import main

    file = tmp_path / "config.py"
    file.write_text(CONFIG.format(suite=str(root / "suite.toml"), root=str(root)))
    workdir = tmp_path / "run"
    assert main(["train", f"--config={file}:data={pairs}", f"--workdir={workdir}"]) == 0
    found = {
        name: json.loads((workdir / "results" / f"{name}.json").read_text())
        for name in ("kinds80", "found", "held_out")
    }
    kinds = found["kinds80"]
    assert kinds["samples"] == 40 and kinds["step"] == 6
    assert set(kinds["metrics"]) >= {"top1", "top5", "mean_per_class_recall"}
    assert kinds["low"]["top1"] <= kinds["metrics"]["top1"] <= kinds["high"]["top1"]
    assert any("40 of 70 pictures, drawn by seed 0" in note for note in kinds["notes"])
    assert found["found"]["rejected"] == 1
    assert found["held_out"]["counts"] == {"pairs": 32, "rows": 16}  # 4 fill no batch
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    judged = {row["step"]: row for row in rows if "eval/held_out/loss" in row}
    assert sorted(judged) == [3, 6]
    assert judged[6]["eval/held_out/loss"] < judged[3]["eval/held_out/loss"]
    assert judged[6]["eval/kinds80/top1"] == kinds["metrics"]["top1"]


class Watched(MemoryStore):
    """Those that hold something, as long as they live."""

    alive: weakref.WeakSet = weakref.WeakSet()

    def keep(self, of, rows):
        Watched.alive.add(self)
        super().keep(of, rows)


def test_embeddings_are_let_go_after_the_last_evaluation_of_a_step(
    root, pairs, tmp_path, monkeypatch
):
    from vlp.cli.main import main
    from vlp.run.evaluations import Evaluations

    hooks, held = Evaluations.hooks, []

    def hold(_, __):
        gc.collect()
        held.append(len(Watched.alive))

    def watched(self, **how):
        first, second, *others = hooks(self, **how)
        return [first, (3, hold), second, *others, (3, hold)]

    monkeypatch.setattr(Evaluations, "hooks", watched)
    monkeypatch.setattr("vlp.run.evaluations.MemoryStore", Watched)
    file = tmp_path / "config.py"
    file.write_text(CONFIG.format(suite=str(root / "suite.toml"), root=str(root)))
    assert main(["train", f"--config={file}:data={pairs}", f"--workdir={tmp_path / 'run'}"]) == 0
    assert held == [1, 0, 1, 0]  # within a step they are shared


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ("entry='nothing'", "config.evals.bad: entry must be one of"),
        ("entry='missing'", "config.evals.bad: the set missing must be at"),
        ("entry='retrieval', task='dancing'", "config.evals.bad: .*a task must be one of"),
    ],
)
def test_what_cannot_be_judged_is_refused_before_the_first_step(
    root, pairs, tmp_path, capsys, changes, message
):
    from vlp.cli.main import main

    file = tmp_path / "config.py"
    text = CONFIG.format(suite=str(root / "suite.toml"), root=str(root))
    bad = f"    config.evals.bad = ConfigDict(dict({changes}, **common))\n    return config"
    file.write_text(text.replace("    return config", bad))
    assert main(["train", f"--config={file}:data={pairs}", f"--workdir={tmp_path / 'run'}"]) != 0
    import re

    assert re.search(message, " ".join(capsys.readouterr().err.split()))
