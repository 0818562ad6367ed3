"""The jobs as commands: what they say, write and refuse."""

import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from data_pipelines.opening import open_source
from tests.data_jobs.planted import encoded, lines, noise, write_samples
from vlp.cli import data_progress
from vlp.cli.main import main


@pytest.fixture
def data(tmp_path):
    samples = [(encoded(noise(i, size=24)), f"a photo of number {i}") for i in range(6)]
    samples += [samples[1], (b"no picture", "words"), (encoded(Image.new("RGB", (24, 24))), "<b>")]
    return write_samples(tmp_path / "d.tar", samples)


@pytest.fixture
def job(tmp_path, data):
    """Runs `vlp data JOB` on the data; the exit code."""

    def job(name, *flags, out="out"):
        own = (f"--data={data}", f"--out={tmp_path / out}", "--shard-size=4")
        return main(["data", name, *own, *flags])

    return job


def test_dedup_says_what_stays_and_a_second_start_changes_nothing(tmp_path, job, capsys):
    assert job("dedup") == 0
    said = capsys.readouterr().out
    assert "7 of 9 samples stay (77.8%)" in said
    assert "duplicate 1, image not recognised 1" in said
    assert len(open_source(str(tmp_path / "out"))) == 7
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.tar")}
    assert job("dedup") == 0
    assert times == {path: path.stat().st_mtime_ns for path in times}
    assert job("dedup", "--bits=2") == 1
    assert "is of a job with another bits, 4, and this one has 2" in capsys.readouterr().err


def test_a_manifest_alone_is_written_on_demand(tmp_path, job, capsys):
    assert job("filter", "--min-words=2", "--layout=none") == 0
    assert not list((tmp_path / "out").glob("*.tar"))
    reasons = [line.get("reason") for line in lines(tmp_path / "out")]
    assert reasons[7:] == ["image not recognised", "caption of few words"]


def test_leaks_of_other_data_are_left_out(tmp_path, job, capsys):
    judged = write_samples(tmp_path / "t.tar", [(encoded(noise(4, size=24)), "words")])
    assert job("dedup", f"--against={judged}", "--layout=none") == 0
    found = {line["index"]: line["reason"] for line in lines(tmp_path / "out") if not line["kept"]}
    assert found[4] == "duplicate of a picture to be judged on"


@pytest.mark.parametrize("kind", ["tar", "folder"])
def test_pictures_to_be_judged_on_need_no_captions(tmp_path, job, capsys, kind):
    leak = encoded(noise(4, size=24))
    if kind == "tar":
        judged = write_samples(tmp_path / "t.tar", [(leak, ""), (b"no picture", "")])
    else:
        judged = tmp_path / "t"
        (judged / "cat").mkdir(parents=True)
        (judged / "cat/1.png").write_bytes(leak)
        (judged / "cat/2.png").write_bytes(b"no picture")
    assert job("dedup", f"--against={judged}", "--layout=none") == 0
    found = {line["index"]: line["reason"] for line in lines(tmp_path / "out") if not line["kept"]}
    assert found[4] == "duplicate of a picture to be judged on"
    said = "--against: 1 of 2 pictures can be read; others: image not recognised 1"
    assert said in capsys.readouterr().out


def test_pictures_to_be_judged_on_of_which_none_can_be_read_are_refused(tmp_path, job, capsys):
    judged = write_samples(tmp_path / "t.tar", [(b"no picture", "words")])
    assert job("dedup", f"--against={judged}") == 1
    assert "--against must have a picture that can be read" in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("*.tar"))


def test_a_filter_goes_by_rules_or_by_vectors(job, capsys):
    for flags, said in (
        ((), "give one of --min-side"),
        (("--min-side=3", "--embeddings=x", "--share=0.3"), "give one of --min-side"),
        (("--min-side=3", "--share=0.3"), "--threshold and --share are of scores"),
        (("--min-side=-3",), "min_side must be at least 0"),
    ):
        assert job("filter", *flags) == 1
        assert said in capsys.readouterr().err


def write_embeddings(folder, source):
    """As vlp embed writes them: the picture of sample i lies near its caption where i is even."""
    rng = np.random.default_rng(0)
    ids = np.arange(len(source))
    x = rng.standard_normal((len(ids), 8)).astype(np.float32)
    y = np.where(ids[:, None] % 2 == 0, x, -x)
    manifest = {
        "format": 1, "data": source.fingerprint, "data_source": "d.tar", "samples": len(source),
        "shard_size": 100, "model": "abc",
    }  # fmt: skip
    for kind, vectors in (("images", x), ("captions", y)):
        (folder / kind).mkdir(parents=True)
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        np.save(folder / kind / "00000.npy", unit)
        pq.write_table(pa.table({"id": ids}), folder / kind / "00000.parquet")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "done").mkdir()
    (folder / "done/00000.json").write_text("{}")
    return folder


def test_a_filter_by_score_reads_the_vectors_of_the_same_data(tmp_path, data, job, capsys):
    vectors = write_embeddings(tmp_path / "v", open_source(data))
    assert job("filter", f"--embeddings={vectors}", "--threshold=0.5") == 0
    found = lines(tmp_path / "out")
    assert [line["kept"] for line in found] == [i % 2 == 0 for i in range(9)]
    assert all(abs(line["score"]) == pytest.approx(1, abs=1e-5) for line in found)
    (vectors / "done/00000.json").unlink()
    assert job("filter", f"--embeddings={vectors}", "--threshold=0.5", out="two") == 1
    assert "must be whole, it has 0 of 1 shards" in capsys.readouterr().err
    assert not (tmp_path / "two").exists()
    other = write_embeddings(tmp_path / "w", open_source(data))
    manifest = json.loads((other / "manifest.json").read_text()) | {"data": "other"}
    (other / "manifest.json").write_text(json.dumps(manifest))
    assert job("filter", f"--embeddings={other}", "--threshold=0.5", out="three") == 1
    assert "must have the vectors of --data" in capsys.readouterr().err
    assert not (tmp_path / "three").exists()


@pytest.mark.parametrize("flags", [("dedup",), ("filter", "--share=0.5")])
def test_vectors_of_augmentations_are_refused(tmp_path, data, job, capsys, flags):
    vectors = write_embeddings(tmp_path / "v", open_source(data))
    manifest = json.loads((vectors / "manifest.json").read_text())
    manifest["views"] = {"count": 2, "seed": 0}
    (vectors / "manifest.json").write_text(json.dumps(manifest))
    assert job(*flags, f"--embeddings={vectors}") == 1
    assert "run vlp embed without --views" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_new_labels_take_the_place_of_old_ones_and_that_is_said(tmp_path, capsys):
    image = encoded(noise(0))
    data = write_samples(tmp_path / "l.tar", [(image, "a cat")] * 2, labels=[7])
    (tmp_path / "wn").mkdir()
    (tmp_path / "wn/index.noun").write_text("cat n 1 1 @ 1 1 00000001\n")
    out = tmp_path / "out"
    own = [f"--data={data}", f"--out={out}", f"--wordnet={tmp_path / 'wn'}", "--min-count=2"]
    assert main(["data", "label", *own, "--layout=parquet"]) == 0
    said = capsys.readouterr().out
    assert "2 of 2 samples written" in said and "2 of them with a new value of a field" in said
    found = open_source(str(out))  # without the facts, which are parquet, too
    assert [found.meta(i)["labels"] for i in range(len(found))] == [[0], [0]]


def test_a_job_goes_on_with_the_very_wordnet_it_began_with_wherever_it_lies(tmp_path, capsys):
    data = write_samples(tmp_path / "d.tar", [(encoded(noise(0)), "a cat")])
    for name, synset in (("a", 1), ("copy", 1), ("other", 2)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "index.noun").write_text(f"cat n 1 1 @ 1 1 {synset:08d}\n")
    own = ["data", "label", f"--data={data}", f"--out={tmp_path / 'out'}", "--min-count=1"]
    own += ["--layout=none"]
    assert [main([*own, f"--wordnet={tmp_path / name}"]) for name in ("a", "copy")] == [0, 0]
    (tmp_path / "copy/noun.exc").write_text("felid cat\n")
    for name in ("copy", "other"):
        assert main([*own, f"--wordnet={tmp_path / name}"]) == 1
        assert "is of a job with another wordnet" in capsys.readouterr().err


def test_a_filter_goes_on_with_vectors_that_were_made_alike_alone(tmp_path, data, job, capsys):
    vectors = write_embeddings(tmp_path / "v", open_source(data))
    own = ("filter", f"--embeddings={vectors}", "--threshold=0.5", "--layout=none")
    assert [job(*own), job(*own)] == [0, 0]
    manifest = json.loads((vectors / "manifest.json").read_text())
    for name in ("model", "captions", "dtype", "preprocess", "tokenizer"):
        (vectors / "manifest.json").write_text(json.dumps(manifest | {name: "other"}))
        assert job(*own) == 1
        assert "is of a job with another embeddings" in capsys.readouterr().err


def test_near_vectors_go_by_the_cosine_that_is_given(tmp_path, data, job):
    vectors = write_embeddings(tmp_path / "v", open_source(data))
    x = np.eye(9, dtype=np.float32)
    x[5, 2], x[5, 5] = 0.9, np.sqrt(1 - 0.9**2)
    np.save(vectors / "images/00000.npy", x)
    for out, flags, left_out in (("near", ["--cosine=0.85"], [5]), ("default", [], [])):
        assert job("dedup", f"--embeddings={vectors}", "--layout=none", *flags, out=out) == 0
        assert [line["index"] for line in lines(tmp_path / out) if not line["kept"]] == left_out


@pytest.mark.parametrize(
    ("name", "flags", "said"),
    [
        ("convert", ["--resize=0"], "resize must be a whole number of at least 1, got 0"),
        ("reshard", ["--resize=16", "--quality=101"], "quality must be of 1 to 100, got 101"),
        ("dedup", ["--bits=99"], "bits that differ must be of -1"),
        ("filter", ["--min-side=-3"], "min_side must be at least 0, got -3"),
        ("filter", ["--max-aspect=nan"], "max_aspect must be at least 0, got nan"),
        ("filter", ["--languages=en,english"], "got 'english'"),
        ("filter", ["--embeddings=v"], "needs a threshold or a share"),
        ("filter", ["--embeddings=v", "--share=30"], "share must be over 0 and at most 1"),
        ("balance", ["--queries=queries.txt", "--most=0"], "--most must be at least 1, got 0"),
        ("label", ["--wordnet=none"], "a WordNet folder must have index.noun"),
        ("label", ["--wordnet=none", "--min-count=0"], "--min-count must be at least 1, got 0"),
        ("dedup", ["--cosine=0.9"], "--cosine is of vectors, got 0.9 without --embeddings"),
        ("dedup", ["--embeddings=v", "--cosine=95"], "--cosine must be of -1 to 1, got 95"),
        ("dedup", ["--embeddings=v", "--cosine=nan"], "--cosine must be of -1 to 1, got nan"),
        ("dedup", ["--embeddings=v", "--bits=3"], "--bits compares by look"),
        ("dedup", ["--layout=none", "--resize=16"], "--layout=none writes none, got 16"),
        ("filter", ["--min-side=3", "--layout=none", "--quality=80"], "writes none, got 80"),
        ("convert", ["--runner=FlinkRunner"], "needs Beam's job server; give --beam='--job_end"),
        ("convert", ["--runner=sparkrunner", "--beam=--spark_version=3"], "--spark_job_server_jar"),
        ("convert", ["--runner=NoRunner"], "Unexpected pipeline runner: NoRunner"),
        ("convert", ["--runner=PortableRunner", "--beam=--job_endpoint=localhost:1"], "not answer"),
        ("convert", ["--runner=FnApiRunner", "--beam=--tpyo=3"], "Beam knows, got --tpyo=3;"),
        ("convert", ["--runner=PortableRunner"], "a job server that runs; give --beam='--job_end"),
        ("convert", ["--runner=FlinkRunner", "--beam=--flink_job_server_jar=no.jar"], "got no.jar"),
        ("convert", ["--runner=FnApiRunner", "--beam=--runner=Other"], "no runner, got 'Other'"),
        ("convert", ["--runner=apache_beam.runners.Nope"], "has no attribute 'Nope'"),
        ("convert", ["--runner=apache_beam.Map"], "class, got apache_beam.Map"),
        ("convert", ["--runner=apache_beam.Pipeline"], "class, got apache_beam.Pipeline"),
        ("convert", ["--runner=PrismRunner"], "which Beam downloads; leave --runner out"),
        ("convert", ["--runner=direct"], "which Beam downloads; leave --runner out"),
        ("convert", ["--beam=--flink_master=here:1"], "got '--flink_master=here:1' without one"),
        ("convert", ["--quality=80"], "--quality is of the JPEGs that --resize makes, got 80"),
    ],
)
def test_a_job_that_is_refused_leaves_nothing_behind(
    tmp_path, data, job, capsys, monkeypatch, name, flags, said
):
    """So that the same command, put right, is not another job in the same folder."""
    monkeypatch.chdir(tmp_path)
    write_embeddings(tmp_path / "v", open_source(data))
    (tmp_path / "queries.txt").write_text("photo\n")
    assert job(name, *flags) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_stats_count_everything_once(tmp_path, job, capsys):
    assert job("stats") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "9 samples; cannot be used: image not recognised 1; 1 pictures repeat" in said
    found = json.loads((tmp_path / "out/statistics.json").read_text())
    assert found["rejects"] == {"image not recognised": 1} and found["equal pictures"] == 1
    bins = found["distributions"]
    assert sum(count for _, count in bins["shorter side, pixels"]) == 8
    assert dict(map(tuple, bins["words a caption"]))[5] == 7
    assert dict(map(tuple, bins["contrast, deviation of brightness"]))[0] == 1


def test_the_page_shows_pictures_and_reasons_and_asks_the_network_for_nothing(
    tmp_path, job, capsys
):
    assert job("dedup", out="once") == 0
    assert job("inspect", f"--manifest={tmp_path / 'once'}", "--samples=5") == 0
    page = (tmp_path / "out/inspect.html").read_text()
    assert page.count("<figure>") == 5 + 1 + 1 + 7  # spread; duplicate; not recognised; stayed
    assert "Left out: duplicate" in page and "Stayed" in page and "a photo of number 3" in page
    assert "&lt;b&gt;" in page and "<b>" not in page  # captions come from anywhere
    assert not re.findall(r"(?:src|href)=\"(?!data:)", page)
    assert job("inspect", f"--manifest={tmp_path}", out="other") == 1
    assert "--manifest must be the --out of a job" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_the_page_of_a_manifest_that_is_not_whole_is_refused(tmp_path, job, capsys):
    assert job("dedup", "--layout=none", out="once") == 0
    (tmp_path / "once/manifest/00002.jsonl").unlink()
    assert job("inspect", f"--manifest={tmp_path / 'once'}") == 1
    assert "must have its whole manifest, it has 2 of 3 parts" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_tars_are_indexed_once_and_what_is_done_is_shown(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(data_progress, "LOOK_S", 0.0005)
    monkeypatch.setattr(data_progress, "LINE_S", 0.0)
    (tmp_path / "web").mkdir()
    for n in range(2):
        samples = [(encoded(noise(9 * n + i, size=24)), "some words") for i in range(3)]
        write_samples(tmp_path / f"web/{n}.tar", samples)
    own = [f"--data={tmp_path}/web/*.tar", "--shard-size=2"]
    assert main(["data", "dedup", *own, f"--out={tmp_path / 'a'}"]) == 0
    said = capsys.readouterr()
    assert f"{tmp_path}/web/tars.index: 2 tars, 2 of them read now" in said.out
    for word in ("reading", "judging", "writing"):
        assert re.search(rf"(?m)^{word}: [0-3] of 3 parts, 0 s$", said.err)
    assert main(["data", "stats", *own, f"--out={tmp_path / 'b'}"]) == 0
    assert "tars.index" not in capsys.readouterr().out


def test_workers_and_a_runner_do_not_go_together(job, capsys):
    assert job("dedup", "--workers=2", "--runner=FlinkRunner") == 1
    assert "--workers are processes of this machine" in capsys.readouterr().err
