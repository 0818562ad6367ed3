"""The table of a sweep does not depend on how many devices and processes made it."""

import os
import socket
import subprocess

import numpy as np
import pytest

from tests.small.runs import command
from tests.sweeps.small_sweep import made, swept, table
from vlp.sweeps.log import Log


@pytest.mark.slow
def test_eight_devices_and_two_times_four_give_the_table_of_one(tmp_path):
    root = made(tmp_path / "made")
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    joined = [f"--coordinator=localhost:{port}", "--num-processes=2"]
    common = ["sweep", f"--models={root / 'model'}", f"--suite={root / 'suite.toml'}"]
    common += [f"--data={root}", "--draws=20"]
    lines = [command(*common, f"--out={tmp_path / 'one'}")] + [
        command(*common, f"--out={tmp_path / 'two'}", *joined, f"--process-id={i}", devices=4)
        for i in (0, 1)
    ]
    started = [
        subprocess.Popen(
            line, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        for line, environment in lines
    ]
    eight = swept(root, tmp_path / "eight")
    said = [process.communicate(timeout=200)[0].decode() for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], "\n".join(said)

    assert table(tmp_path / "eight") == table(tmp_path / "one")
    assert table(tmp_path / "two") == table(tmp_path / "one")
    scores = {(row["task"], row["metric"]): row for row in table(tmp_path / "one")}
    assert scores["classification", "top1"]["template_low"] is not None
    assert [row.get("decoded") for row in eight.rows.values()] == [[70], [70], []]
    shared = [row.get("decoded") for row in Log(tmp_path / "two" / "log.jsonl").rows.values()]
    assert all(sum(counts) == 70 and min(counts) >= 32 for counts in shared[:2]), shared
    for file in (tmp_path / "one" / "vectors").glob("*.npy"):
        for other in ("two", "eight"):
            vectors = np.load(tmp_path / other / "vectors" / file.name)
            np.testing.assert_allclose(vectors, np.load(file), rtol=0, atol=1e-6)
