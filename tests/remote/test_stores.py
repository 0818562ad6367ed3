"""Files go to an object store and come back as they were, and what reaches none is refused."""

import json

import pytest

from vlp import remote
from vlp.files import whole_folder, write_json
from vlp.jobs.outputs import RESULT, check_folder, check_output
from vlp.run.identity import run_identity


@pytest.mark.parametrize(
    ("path", "expected"),
    [("gs://b/c", True), ("s3:/b", True), ("/tmp/x", False), ("a:b", False), ("C:x", False)],
)
def test_a_path_with_a_scheme_lies_in_a_store(path, expected):
    assert remote.is_remote(path) is expected


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("hdfs://b/c", "must be of this machine's file systems, or begin with gs:// or s3://"),
        ("gs:/b/c", "must be of this machine's"),
        ("gs://b", "must be gs://BUCKET/FOLDER, got gs://b"),
        ("gs:///c", "must be gs://BUCKET/FOLDER"),
        ("s3://b/c", "pip install 'vlp\\[s3\\]'"),
    ],
)
def test_what_cannot_be_reached_is_refused_with_the_remedy(monkeypatch, path, said):
    monkeypatch.setattr(remote, "STORES", {"gs": ("json", "gcs"), "s3": ("not_here", "s3")})
    with pytest.raises(ValueError, match=said):
        remote.remote(path)


def test_a_store_that_does_not_answer_is_named_with_its_reason(gs, monkeypatch):
    def no_credentials(self, path, **kwargs):
        raise RuntimeError("no credentials\nand a long story")

    monkeypatch.setattr("tests.small.stores.Memory.ls", no_credentials)
    with pytest.raises(ValueError, match="gs://bucket/x must be reached.*no credentials; check"):
        remote.reached(f"{gs}/x")


def test_a_folder_is_put_up_in_place_of_another_and_fetched(gs, tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    for name in ("a/b/one", "a/two", "done.json"):
        (tmp_path / name).write_text(name)
    target = remote.remote(f"{gs}/folder")
    (target / "old").write_text("")
    (target / "done.json").write_text("of the old one")
    remote.put_folder(tmp_path, target, last="done.json")
    assert remote.names_in(target) == ["a", "done.json"]
    copy = remote.fetched(target)
    assert (copy / "a/b/one").read_text() == "a/b/one"
    assert remote.fetched(target / "done.json").read_text() == "done.json"
    remote.move(target / "a", target / "c")
    assert remote.names_in(target) == ["c", "done.json"]
    assert (target / "c/b/one").read_text() == "a/b/one"


def test_a_folder_that_is_not_finished_puts_nothing_up(gs):
    target = remote.remote(f"{gs}/export")
    with pytest.raises(KeyError), whole_folder(target, last="x") as partial:
        (partial / "x").write_text("x")
        raise KeyError
    assert not target.exists()
    with whole_folder(target, last="x") as partial:
        (partial / "x").write_text("x")
    assert (target / "x").read_text() == "x"


def test_outputs_in_a_store_are_checked_as_those_here(gs):
    path = f"{gs}/results/r.json"
    check_output("--out", path, RESULT)
    write_json(path, {"format": 1, "task": "retrieval"})
    check_output("--out", path, RESULT)
    assert json.loads(remote.remote(path).read_text())["format"] == 1
    write_json(path, {"something": "else"})
    with pytest.raises(ValueError, match="holds something else"):
        check_output("--out", path, RESULT)
    with pytest.raises(ValueError, match="holds other files, such as r.json"):
        check_folder("--workdir", remote.remote(f"{gs}/results"), manifest="config.json", ours="x")


def test_a_run_in_a_store_keeps_its_identity_and_a_copy_gets_its_own(gs, tmp_path):
    where = f"{gs}/runs/mine"
    identity = run_identity(tmp_path, address=where)
    assert identity.startswith("mine-")
    remote.put(tmp_path / "run.json", remote.remote(where) / "run.json")
    assert run_identity(tmp_path, address=where) == identity
    assert run_identity(tmp_path, address=f"{gs}/runs/copy") != identity
