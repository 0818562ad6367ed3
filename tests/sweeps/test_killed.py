"""A sweep that is killed at any moment, and started again, is as if nobody had killed it."""

import json
import random
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from data_pipelines.files import PARTIAL
from tests.interop import tiny
from tests.small.runs import command
from tests.sweeps.killed import Group, free_port, holder, killed_at_a_write
from tests.sweeps.small_sweep import PICTURES, made, table
from vlp.interop.save import save_run

pytestmark = pytest.mark.slow
EMBEDDED = 4  # two sets, each by two models


def started(flags: Sequence[str], out: Path, *, processes: int = 1) -> Group:
    """A sweep of so many processes, with eight devices in all."""
    joined: list[str] = []
    if processes > 1:
        joined = [f"--coordinator=localhost:{free_port()}", f"--num-processes={processes}"]
    each = [
        command(
            *flags,
            f"--out={out}",
            *joined,
            *([f"--process-id={i}"] if joined else ()),
            devices=8 // processes,
        )
        for i in range(processes)
    ]
    return Group([line for line, _ in each], each[0][1])


def files_of(out: Path) -> set[str]:
    """The names of all that lies in the folder of a sweep."""
    return {str(path.relative_to(out)) for path in out.rglob("*")}


def rows_of(data: bytes) -> list[dict]:
    """The rows of a log that did not fail."""
    return [row for line in data.splitlines() if "failed" not in (row := json.loads(line))]


class Witness:
    """Watches the folder of a sweep that is killed and started again.

    Args:
        out: the folder.
        whole: that of the same sweep, which nobody killed.

    Attributes:
        rows: of the log, as far as it was whole when last seen.
    """

    def __init__(self, out: Path, whole: Path) -> None:
        self.out, self.whole, self.rows = out, whole, b""
        self._embedded: dict[str, object] = {}

    def look(self) -> tuple[int, int, bool]:
        """How many embeddings and rows are done, and whether the page is there.

        What was done when it last looked must not have been done again.
        """
        log = self.out / "log.jsonl"
        rows = log.read_bytes() if log.exists() else b""
        rows = rows[: rows.rfind(b"\n") + 1]
        told = (path.with_suffix(".npy") for path in (self.out / "vectors").glob("*.json"))
        embedded = {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in told}
        assert rows.startswith(self.rows)
        assert {name: embedded[name] for name in self._embedded} == self._embedded
        self.rows, self._embedded = rows, embedded
        return len(embedded), len(rows_of(rows)), (self.out / "index.html").exists()

    def check_whole(self) -> None:
        """It is as if nobody had killed it: nothing lost, repeated, half written or held."""
        self.look()
        assert table(self.out) == table(self.whole)
        assert files_of(self.out) == files_of(self.whole)
        ours, theirs = (rows_of((out / "log.jsonl").read_bytes()) for out in (self.out, self.whole))
        assert sorted(row["key"] for row in ours) == sorted(row["key"] for row in theirs)
        decoded, wanted = (sum(sum(row["decoded"]) for row in rows) for rows in (ours, theirs))
        assert decoded <= wanted == EMBEDDED * PICTURES


@pytest.fixture(scope="module")
def flags(tmp_path_factory):
    """The command line of a sweep of two models, one after the other."""
    root = made(tmp_path_factory.mktemp("made"))
    save_run(tiny.make_run("siglip"), root / "other")
    models = ["--models", str(root / "model"), str(root / "other"), "--models-at-once=1"]
    return ["sweep", *models, f"--suite={root / 'suite.toml'}", f"--data={root}", "--draws=20"]


@pytest.fixture(scope="module")
def whole(flags, tmp_path_factory):
    """The folder of a sweep that nobody killed, and the seconds it took once it had begun."""
    out = tmp_path_factory.mktemp("whole") / "out"
    sweep = started(flags, out)
    sweep.begins(out, before=b"")
    begun = time.monotonic()
    sweep.ended(0)
    return out, time.monotonic() - begun


@pytest.mark.parametrize(("processes", "kills"), [(1, 10), (2, 2)])
def test_killed_at_random_moments_and_resumed_it_is_the_same_table(
    flags, whole, tmp_path, processes, kills
):
    reference, duration = whole
    rng = random.Random(processes)
    duration *= processes  # which share the cores
    moments = [(i + rng.random()) / kills * duration for i in range(kills)]
    rng.shuffle(moments)
    seen, folders = [], 0
    witness = Witness(tmp_path / str(folders), reference)
    while len(seen) < kills:
        before = holder(witness.out)
        sweep = started(flags, witness.out, processes=processes)
        sweep.begins(witness.out, before=before)
        if sweep.killed(after_s=moments[len(seen)]):
            seen.append(witness.look())
            continue
        witness.check_whole()
        moments[len(seen)] *= rng.random()  # it came too late; now in a new folder
        folders += 1
        witness = Witness(tmp_path / str(folders), reference)
    started(flags, witness.out, processes=processes).ended(0)
    witness.check_whole()
    print("embeddings, rows and page at each kill:", seen, "folders:", folders + 1)
    assert len({*seen}) >= kills // 3  # not all before the first embedding


# Vectors that are whole, but not in place; those in place, without what says so; what was said of
# samples, without its row; a table; the page.
WRITES = (
    ("before", ".npy"), ("after", ".npy"), ("before", ".npz"), ("after", ".npz"),
    ("before", "results.parquet"), ("before", "index.html"),
)  # fmt: skip


def test_killed_while_a_file_is_put_in_its_place_nothing_half_written_remains(
    flags, whole, tmp_path
):
    witness = Witness(tmp_path / "out", whole[0])
    for when, ending in WRITES:
        killed_at_a_write(when, ending, *flags, f"--out={witness.out}")
        witness.look()
        left = any(name.endswith(PARTIAL) for name in files_of(witness.out))
        assert left == (when == "before")
    started(flags, witness.out).ended(0)
    witness.check_whole()
