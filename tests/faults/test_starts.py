"""What a newcomer to a cluster meets first: all that came say it, and nothing is left behind."""

import socket
import subprocess

import pytest

from tests.faults.test_restarts import flags
from tests.small.runs import command, write_pairs

pytestmark = pytest.mark.slow


def ends(folder, *processes):
    """Exit codes and words of `vlp train` as (workdir, --process-id, --num-processes)."""
    data = write_pairs(folder / "pairs.tar")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        where = f"--coordinator=127.0.0.1:{free.getsockname()[1]}"
    started = []
    for workdir, number, count in processes:
        join = [where, f"--process-id={number}", f"--num-processes={count}"]
        line, environment = command(*flags(data, folder / workdir), *join)
        started.append(subprocess.Popen(line, env=environment, stderr=subprocess.PIPE, text=True))
    words = [process.communicate(timeout=240)[1] for process in started]
    return [process.returncode for process in started], words


@pytest.mark.parametrize(
    ("processes", "said"),
    [
        ([("run", 0, 3), ("run", 1, 3), ("run", 1, 3)], "--process-id of its own, two have 1"),
        ([("run", 0, 2), ("run", 1, 3)], "process 0 has 2 and process 1 has 3"),
        ([("one", 0, 2), ("other", 1, 2)], "must be a folder that all processes share"),
    ],
)
def test_a_start_that_cannot_be_ends_on_all_with_the_reason(tmp_path, processes, said):
    codes, words = ends(tmp_path, *processes)
    assert codes == [1] * len(processes)
    for each in words:
        last = each.strip().splitlines()[-1]
        assert last.startswith("vlp: ") and said in last, each
    assert [path.name for path in tmp_path.iterdir()] == ["pairs.tar"]
