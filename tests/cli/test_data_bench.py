"""`vlp data bench` on a config's data, or on data by themselves."""

import json

import pytest

from tests.small.runs import TINY, write_pairs
from vlp.cli.main import main


def test_a_pipeline_is_measured_and_the_cores_are_said(tmp_path, capsys):
    data, out = write_pairs(tmp_path / "pairs.tar"), tmp_path / "bench.json"
    config = f"{TINY}:data={data}"
    asked = ["--pairs-per-second=1000", "--seconds=0.05", f"--json={out}"]
    assert main(["data", "bench", f"--config={config}", *asked]) == 0
    said = capsys.readouterr().out
    figures = json.loads(out.read_text())
    assert f"the limit is {figures['limit']}" in said and "1,000 pairs/s need" in said
    assert figures["cores_needed"] == 1_000 * figures["core_ms"] / 1e3
    assert all(stage in said for stage in figures["stages"]) and "decode" in figures["stages"]


def test_data_by_themselves_are_measured_too(tmp_path, capsys):
    data = write_pairs(tmp_path / "pairs.tar")
    assert main(["data", "bench", f"--data={data}", "--seconds=0.05"]) == 0
    assert "tokenise" in capsys.readouterr().out


def test_both_or_neither_are_refused(capsys):
    for given in ([], ["--config=x.py", "--data=y.tar"]):
        assert main(["data", "bench", *given]) == 2
        assert "takes either --config or --data" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--seconds=0", "--seconds=nan", "--pairs-per-second=0"])
def test_a_pace_and_a_time_are_above_nothing(capsys, flag):
    assert main(["data", "bench", "--data=y.tar", flag]) == 2
    assert f"{flag.partition('=')[0]} must be above 0" in capsys.readouterr().err
