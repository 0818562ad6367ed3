"""What is rejected is written down, a line each, and a run that goes on has no line twice."""

import json

import pytest
from data_makers import pairs, write_tar
from small_loader import COUNT, loader, take, tar_with

from data_pipelines.ledger import Ledger, cut
from data_pipelines.sources import TarSource


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def bad(tmp_path):
    return tar_with(tmp_path, b"", b"words")


def with_ledger(source, path, **values):
    made = loader(source, max_reject_share=0.5, **values)
    made.ledger = Ledger(path, after=0)
    return made


def test_a_reject_is_written_with_its_key_file_reason_and_epoch(bad, tmp_path):
    stream = with_ledger(bad, tmp_path / "rejects.jsonl")
    ids = [index for batch in take(stream, 10) for index in batch["id"].tolist()]
    places = [place for place, index in enumerate(ids) if index == 3]
    assert lines(tmp_path / "rejects.jsonl") == [
        dict(key="0003", file=str(bad.paths[0]), reason="image empty", epoch=place // COUNT,
             after=place // 4 * 4)
        for place in places
    ]  # fmt: skip
    assert len(places) == stream.rejects["image empty"] == 4


def test_without_rejects_there_is_no_file(tmp_path):
    good = TarSource(write_tar(tmp_path / "good.tar", pairs(COUNT)))
    take(with_ledger(good, tmp_path / "rejects.jsonl"), 5)
    assert not (tmp_path / "rejects.jsonl").exists()


def test_a_run_that_goes_on_writes_what_the_whole_run_would_have(bad, tmp_path):
    take(with_ledger(bad, tmp_path / "whole.jsonl"), 20)
    killed = with_ledger(bad, tmp_path / "rejects.jsonl")
    take(killed, 7)
    state = killed.get_state()
    take(killed, 9)  # behind the checkpoint, so this is done again
    with (tmp_path / "rejects.jsonl").open("a") as file:
        file.write('{"key": "00')  # killed while it wrote
    after = loader(bad, max_reject_share=0.5)
    after.set_state(state)
    after.ledger = Ledger(tmp_path / "rejects.jsonl", after=state["samples"])
    take(after, 13)
    assert lines(tmp_path / "rejects.jsonl") == lines(tmp_path / "whole.jsonl")
    assert after.rejects == {"image empty": 8}


def test_read_is_accepted_and_rejected_over_all_processes(bad, tmp_path):
    read = accepted = rejected = written = 0
    for process in range(2):
        path = tmp_path / f"rejects-{process}.jsonl"
        stream = with_ledger(bad, path, process_index=process, process_count=2)
        accepted += sum(int(batch["weight"].sum()) for batch in take(stream, 15))
        read, rejected = read + stream.seen, rejected + sum(stream.rejects.values())
        written += len(lines(path)) if path.exists() else 0
    assert read == 60 == accepted + rejected and written == rejected == 6


def test_a_full_ledger_says_so_once_and_stays_as_it_is(bad, tmp_path, caplog):
    stream = loader(bad, max_reject_share=0.5)
    stream.ledger = Ledger(tmp_path / "rejects.jsonl", most=2)
    take(stream, 20)
    found = lines(tmp_path / "rejects.jsonl")
    assert [line["reason"] for line in found] == ["image empty", "image empty", "full"]
    assert caplog.text.count("are only counted") == 2  # the first reject, and this
    assert stream.rejects == {"image empty": 8}
    again = Ledger(tmp_path / "rejects.jsonl", after=80, most=2)
    again.add(key="k", file="f", reason="image empty", epoch=9, after=80)
    assert lines(tmp_path / "rejects.jsonl") == found


def test_what_is_left_of_nothing_is_no_file(bad, tmp_path):
    take(with_ledger(bad, tmp_path / "rejects.jsonl"), 20)
    assert cut(tmp_path / "rejects.jsonl", after=0) == 0
    assert not (tmp_path / "rejects.jsonl").exists()
