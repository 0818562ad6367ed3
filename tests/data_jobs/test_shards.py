"""What jobs write: whole or not at all, the same whoever carries it out, and read back."""

import os
import signal
import subprocess
import sys
import time
from functools import partial

import numpy as np
import pyarrow.parquet as pq
import pytest

from data_pipelines.decode import decode
from data_pipelines.faults import Reject
from data_pipelines.jobs.facts import gather_facts
from data_pipelines.jobs.layouts import LAYOUTS
from data_pipelines.jobs.rules import Rules, by_rules
from data_pipelines.jobs.shards import Form, write_shards
from data_pipelines.jobs.verdicts import judge
from data_pipelines.opening import open_source
from data_pipelines.sources import index_path
from data_pipelines.tar_write import member, sample_bytes, write_tar
from tests.data_jobs.planted import encoded, files_below, noise, write_samples


@pytest.fixture
def data(tmp_path):
    return write_samples(
        tmp_path / "d.tar",
        [(encoded(noise(i, size=20 + i)), f"words of {i}") for i in range(10)],
        cls=3,
    )


def same_samples(one, other):
    assert len(one) == len(other)
    for i in range(len(one)):
        assert one.image(i) == other.image(i)
        assert [_text(c) for c in one.captions(i)] == [_text(c) for c in other.captions(i)]
        assert one.meta(i).items() <= other.meta(i).items()


def _text(caption):
    return caption if isinstance(caption, str) else caption.decode()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_data_come_back_from_each_layout(tmp_path, data, start, flags, layout):
    work = start(data)
    assert write_shards(work, flags, Form(layout), chosen=False) == {"written": 10}
    same_samples(open_source(data), open_source(str(work.out)))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_fields_of_every_kind_come_back_from_each_layout(tmp_path, start, flags, layout):
    fields = dict(
        cls=3, uid="0" * 32, score=0.1, large=2**60, flag=True, nothing=None, labels=[5, 7],
        names=["a", "b"], nested={"x": [1.5, None]}, json="mine",
    )  # fmt: skip
    data = write_samples(tmp_path / "d.tar", [(encoded(noise(i)), "words") for i in (0, 1)])
    odd = sample_bytes("b", encoded(noise(2)), ["words"], meta=fields | {"cls": "cat"})
    write_tar(tmp_path / "e.tar", [sample_bytes("a", encoded(noise(3)), ["w"], meta=fields), odd])
    work = start(f"{data},{tmp_path / 'e.tar'}", part_size=2)
    assert write_shards(work, flags, Form(layout), chosen=False) == {"written": 4}
    found = open_source(str(work.out))
    assert found.meta(1)["number"] == 1 and found.meta(1)["source_key"] == "000001"
    for place, cls in ((2, 3), (3, "cat")):
        said = dict(found.meta(place))
        assert (said.pop("source_key"), said.pop("source_file")) == (
            "ab"[place - 2], str(tmp_path / "e.tar"),
        )  # fmt: skip
        assert said == fields | {"cls": cls}


def test_parquet_has_pictures_as_hugging_face_writes_them(data, start, flags):
    work = start(data)
    write_shards(work, flags, Form("parquet"), chosen=False)
    files = sorted(work.out.glob("*.parquet"))
    rows = [row for file in files for row in pq.read_table(file).to_pylist()]
    source = open_source(data)
    assert [row["image"]["bytes"] for row in rows] == [source.image(i) for i in range(10)]
    assert [row["captions"] for row in rows] == [[f"words of {i}"] for i in range(10)]
    assert open_source(str(work.out)).meta(4)["source_key"] == "000004"
    assert rows[4]["image"]["path"] == "000000004.png"


def test_tars_have_their_index_and_their_samples_say_where_they_come_from(data, start, flags):
    work = start(data)
    write_shards(work, flags, Form(), chosen=False)
    tars = sorted(work.out.glob("*.tar"))
    assert [tar.name for tar in tars] == ["00000.tar", "00001.tar", "00002.tar"]
    assert index_path(work.out).is_file()
    meta = open_source(str(work.out)).meta(9)
    assert (meta["source_key"], meta["source_file"], meta["cls"]) == ("000009", str(data), 3)


def test_written_again_a_sample_still_says_where_it_came_from_at_first(data, start, flags):
    first = start(data)
    write_shards(first, flags, Form(), chosen=False)
    second = start(first.out, out="again", part_size=6)
    write_shards(second, flags, Form(), chosen=False)
    again = open_source(str(second.out))
    assert again.meta(7)["source_file"] == str(data)
    same_samples(open_source(data), again)


def test_larger_pictures_become_smaller_and_smaller_ones_stay_as_they_are(data, start, flags):
    work = start(data)
    write_shards(work, flags, Form(resize=24), chosen=False)
    before, after = open_source(data), open_source(str(work.out))
    for i in range(10):
        side = decode(after.image(i)).shape[0]
        assert side == min(24, 20 + i)
        assert (after.image(i) == before.image(i)) == (20 + i <= 24)
    large, small = (decode(source.image(9)) for source in (before, after))
    assert abs(large.mean(axis=(0, 1)) - small.mean(axis=(0, 1))).max() < 2


def test_samples_that_cannot_be_read_are_counted_and_the_others_written(tmp_path, start, flags):
    samples = [
        (encoded(noise(0)), "good"),
        (encoded(noise(1)), "a\0b"),
        (encoded(noise(2)), "good"),
    ]
    data = write_samples(tmp_path / "d.tar", samples)
    work = start(data)
    counts = write_shards(work, flags, Form(), chosen=False)
    assert counts == {"written": 2, "caption with NUL (utf-16?)": 1}
    assert len(open_source(str(work.out))) == 2


@pytest.mark.parametrize("layout", LAYOUTS)
def test_half_a_surrogate_in_json_costs_nothing(tmp_path, start, flags, layout):
    image = encoded(noise(0))
    odd = b"".join((member("k.png", image), member("k.txt", b"words"),
                    member("k.json", b'{"title": "\\ud83d cut"}')))  # fmt: skip
    write_tar(tmp_path / "d.tar", [odd])
    work = start(tmp_path / "d.tar")
    assert write_shards(work, flags, Form(layout), chosen=False) == {"written": 1}
    assert open_source(str(work.out)).meta(0)["title"] == "\ud83d cut"


def test_parts_that_are_done_stay_and_missing_ones_are_made_as_they_were(data, start, flags):
    work = start(data)
    write_shards(work, flags, Form(), chosen=False)
    whole = files_below(work.out)
    (work.out / "done/00001.json").unlink()
    (work.out / "00001.tar").write_bytes(b"cut")
    (work.out / "00002.tar").unlink()
    leftover = work.out / ".00002.tar.1234.partial"
    leftover.write_bytes(b"half")
    kept = (work.out / "00000.tar").stat().st_mtime_ns
    again = start(data)
    write_shards(again, flags, Form(), chosen=False)
    assert not leftover.exists()
    assert files_below(work.out) == whole
    assert (work.out / "00000.tar").stat().st_mtime_ns == kept


def test_sounds_go_into_tars_and_are_counted_where_there_is_no_place_for_them(
    tmp_path, start, flags
):
    sample = sample_bytes("a", encoded(noise(0)), ["words"], meta={"number": 0}, sound=b"OggS...")
    write_tar(tmp_path / "d.tar", [sample])
    tars, folder = start(tmp_path / "d.tar"), start(tmp_path / "d.tar", out="folder")
    assert write_shards(tars, flags, Form(), chosen=False) == {"written": 1}
    assert open_source(str(tars.out)).audio(0) == b"OggS..."
    counts = write_shards(folder, flags, Form("folder"), chosen=False)
    assert counts == {"written": 1, "sound left out": 1}


def test_captions_in_a_folder_are_the_sample_s_own_whatever_its_fields_are_called(
    tmp_path, start, flags
):
    fields = {"Caption": "of the page", "captions": "more", "title": "page", "file": "a.html"}
    samples = [
        sample_bytes("a", encoded(noise(0)), ["one", "two"], meta=fields),
        sample_bytes("b", encoded(noise(1)), [], meta={"number": 1}),
    ]
    write_tar(tmp_path / "d.tar", samples)
    work = start(tmp_path / "d.tar")
    counts = write_shards(work, flags, Form("folder"), chosen=False)
    assert counts == {"written": 2, "field left out": 1}
    found = open_source(str(work.out))
    assert found.captions(0) == ("one", "two")
    assert found.meta(0).items() >= {"captions": "more", "title": "page", "file": "a.html"}.items()
    with pytest.raises(Reject, match="caption missing"):
        found.captions(1)


def test_fields_that_cannot_be_read_are_counted_and_the_sample_is_written(tmp_path, start, flags):
    image = encoded(noise(0))
    odd = b"".join((member("k.png", image), member("k.json", b"no JSON")))
    write_tar(tmp_path / "d.tar", [odd, sample_bytes("l", image, ["words"], meta={})])
    work = start(tmp_path / "d.tar")
    counts = write_shards(work, flags, Form(), chosen=False)
    assert counts == {"written": 2, "fields left out": 1}


def test_a_folder_of_another_job_is_refused(tmp_path, data, start):
    start(data, job="filter", min_side=3)
    with pytest.raises(ValueError, match="another min_side, 3, and this one has 4"):
        start(data, job="filter", min_side=4)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="must be new, empty or of this job"):
        start(data, out="other")


def test_a_part_of_which_nothing_stays_has_no_shard(data, start, flags):
    work = start(data)
    gather_facts(work, flags, pictures=True)
    judge(work, flags, partial(by_rules, work=work, rules=Rules(min_side=24)))
    counts = write_shards(work, flags, Form(), chosen=True)
    assert counts == {"written": 6, "left out": 4}
    assert [tar.name for tar in sorted(work.out.glob("*.tar"))] == ["00001.tar", "00002.tar"]


def dedup(data, out):
    return [
        sys.executable, "-c", "import sys; from vlp.cli.main import main; sys.exit(main())",
        "data", "dedup", f"--data={data}", f"--out={out}", "--shard-size=5", "--bits=-1",
    ]  # fmt: skip


@pytest.mark.slow
def test_a_job_that_is_killed_leaves_no_half_shard_and_goes_on(tmp_path):
    samples = [(encoded(noise(i, size=200)), f"words of {i}") for i in range(300)]
    data = write_samples(tmp_path / "d.tar", samples)
    subprocess.run(dedup(data, tmp_path / "whole"), check=True, capture_output=True)
    rng, killed = np.random.default_rng(0), 0
    for _ in range(12):
        process = subprocess.Popen(
            dedup(data, tmp_path / "cut"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(rng.uniform(1.5, 4))
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
        process.wait()
        for tar in (tmp_path / "cut").glob("[0-9]*.tar"):
            assert len(open_source(tar)) == 5  # whole, or not there
    assert killed
    subprocess.run(dedup(data, tmp_path / "cut"), check=True, capture_output=True)
    assert files_below(tmp_path / "cut") == files_below(tmp_path / "whole")
