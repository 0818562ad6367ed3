"""A run goes on after a file of its data was taken down: same order, its samples bad, and said."""

import json

import pytest

from tests.small.runs import TINY, losses, write_pairs
from vlp.cli.main import main

pytestmark = pytest.mark.slow


def ids(workdir):
    rows = map(json.loads, (workdir / "ids.jsonl").read_text().splitlines())
    return {row["step"]: row["ids"] for row in rows}


def test_a_run_goes_on_in_the_same_order_when_that_is_accepted(tmp_path, capsys):
    data = tmp_path / "data"
    data.mkdir()
    for number in range(4):
        write_pairs(data / f"{number}.tar", copies=1)
    assert main(["data", "index", str(data)]) == 0

    def run(workdir, steps, *flags):
        config = f"--config={TINY}:data={data},steps={steps}"
        places = [config, f"--workdir={tmp_path / workdir}", "--log-ids"]
        more = ["--config.data.max_reject_share=0.5", "--accept-config-changes", *flags]
        return main(["train", *places, *more])

    assert run("whole", 6) == 0
    assert run("parts", 3) == 0
    (data / "2.tar").unlink()
    capsys.readouterr()
    assert run("parts", 6) == 1
    assert "2.tar; pass --accept-data-changes" in capsys.readouterr().err.replace("\n", "")
    assert run("parts", 6, "--accept-data-changes") == 0
    whole, parts = ids(tmp_path / "whole"), ids(tmp_path / "parts")
    assert parts == whole and len(whole) == 6
    gone = {step for step in (4, 5, 6) if any(24 <= i < 36 for i in whole[step])}
    before, after = losses(tmp_path / "whole"), losses(tmp_path / "parts")
    assert gone and {step for step in before if before[step] != after[step]} >= {min(gone)}
    assert all(before[step] == after[step] for step in (1, 2, 3))
