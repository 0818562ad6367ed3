"""`vlp embed` and the search in what it made: exact, resumable, the same however it is spread."""

import dataclasses
import json
import random
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pyarrow.parquet as pq
import pytest

from data_pipelines.decode import decode
from data_pipelines.opening import open_source
from data_pipelines.threads import THREADS
from tests.interop import tiny
from tests.small.runs import command, last_of_each, write_pairs
from vlp.cli.main import main
from vlp.interop.save import save_run
from vlp.jobs import job as jobs
from vlp.parallel.lock import Lock

CAPTIONS = {
    f"green-{shape}-0.txt": f"a green {shape}\nanother, far longer caption of it\n\ncafé".encode()
    for shape in ("square", "bar", "dot", "frame")
}
# All of the third shard of seven, and one image of another.
BAD = {
    f"{name}.png": b"<html>"
    for name in "red-dot-1 red-frame-1 green-square-1 green-bar-1 green-dot-1 green-frame-1 "
    "blue-square-1 blue-dot-2".split()
} | {"red-bar-0.txt": b"\xff\xfe caption"}


def without(run, tower: str):
    """The run with only one of its towers."""
    kwargs = run.card["model"] | {tower: None}
    card = run.card | {"model": kwargs}
    if tower == "image":
        card |= {"preprocess": None}
        run = dataclasses.replace(run, preprocess=None)
    else:
        card |= {"tokenizer": None}
        run = dataclasses.replace(run, tokenizer=None)
    return dataclasses.replace(run, model=tiny.model(kwargs), card=card)


@pytest.fixture(scope="module")
def clip():
    return tiny.make_run("clip")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("embed")


@pytest.fixture(scope="module")
def model(clip, folder):
    return save_run(clip, folder / "clip")


@pytest.fixture(scope="module")
def data(folder):
    """36 pairs, some of them with several captions, some of them unusable."""
    return f"lines:{write_pairs(folder / 'pairs.tar', replace=CAPTIONS | BAD)}"


@pytest.fixture(scope="module")
def embedded(model, data, folder):
    """The embeddings of one uninterrupted job."""
    out = folder / "embedded"
    assert embed(model, data, out, "--captions=all") == 0
    return out


def embed(model, data, out, *flags) -> int:
    return main(arguments(model, data, out, *flags))


def arguments(model, data, out, *flags) -> list[str]:
    sizes = ["--shard-size=7", "--batch-size=4", "--index"]
    places = [f"--model={model}", f"--data={data}", f"--out={out}"]
    return ["embed", *last_of_each(*places, *sizes, *flags)]


def rows(out, kind: str) -> dict[str, list]:
    """The columns of all shards, one after the other; the npy must agree with the parquet."""
    found: dict[str, list] = {"id": [], "key": [], "file": [], "caption": [], "embedding": []}
    for path in sorted((out / kind).glob("*.parquet")):
        columns = pq.read_table(path).to_pydict()
        vectors = np.load(path.with_suffix(".npy"), mmap_mode="r")
        assert vectors.shape[0] == len(columns["id"])
        if columns["embedding"]:
            np.testing.assert_array_equal(np.asarray(columns["embedding"], vectors.dtype), vectors)
        for name, values in columns.items():
            found[name] += values
    return found


def payload(out) -> dict[str, bytes]:
    """Every npy and parquet file."""
    paths = [path for path in out.rglob("*") if path.suffix in (".npy", ".parquet")]
    return {str(path.relative_to(out)): path.read_bytes() for path in paths}


def leftovers(out) -> list[str]:
    return [path.name for path in out.rglob(".*")]


def expected_captions(source, *, first: bool) -> list[tuple[int, str]]:
    found = []
    for i in range(len(source)):
        for line in source.captions(i)[: 1 if first else None]:
            if line.isascii() or "café" in line.decode("utf-8", "replace"):
                found.append((i, line.decode()))
    return found


def test_shards_hold_what_the_model_says_of_each_image_and_caption(clip, data, embedded):
    source = open_source(str(data))
    good = [i for i in range(36) if f"{source.key(i)}.png" not in BAD]
    images = rows(embedded, "images")
    assert images["id"] == good and images["key"] == [source.key(i) for i in good]
    pixels = clip.preprocess([decode(source.image(i)) for i in good])
    wanted = clip.model.encode_image(pixels).embedding
    np.testing.assert_allclose(images["embedding"], wanted, atol=1e-6)
    first = dict(reversed(expected_captions(source, first=False)))
    assert images["caption"] == [first.get(i, "") for i in good]
    assert images["caption"].count("") == 1
    assert set(images["file"]) == {str(data).removeprefix("lines:")}

    captions = rows(embedded, "captions")
    said = expected_captions(source, first=False)
    assert len(said) == 35 + 8
    assert list(zip(captions["id"], captions["caption"], strict=True)) == said
    assert captions["key"] == [source.key(i) for i, _ in said]
    wanted = clip.model.encode_text(clip.tokenize([text for _, text in said])).embedding
    np.testing.assert_allclose(captions["embedding"], wanted, atol=1e-6)


def test_a_shard_without_a_readable_image_is_there_and_empty(embedded):
    assert np.load(embedded / "images" / "00002.npy").shape == (0, 20)
    assert json.loads((embedded / "done" / "00002.json").read_text()) == {
        "images": 0,
        "captions": 7,
        "rejected": 7,
        "left_out": 0,
    }
    assert np.load(embedded / "images" / "00005.npy").shape == (1, 20)  # 36 = 5 * 7 + 1


@pytest.mark.parametrize("tower", ["image", "text"])
def test_a_tower_alone_embeds_what_it_reads(clip, folder, data, tower, capsys):
    other = "text" if tower == "image" else "image"
    run = without(clip, other)
    saved, out = save_run(run, folder / tower), folder / f"{tower}-embedded"
    flags = ["embed", f"--model={saved}", f"--data={data}", f"--out={out}", "--dtype=float16"]
    assert main(flags) == 0
    said = capsys.readouterr().out
    read, unread = ("images", "captions") if tower == "image" else ("captions", "images")
    assert rows(out, unread)["id"] == []
    source = open_source(str(data))
    if tower == "image":
        assert "28 images and 0 captions" in said and "captions are not embedded" in said
        pixels = run.preprocess([decode(source.image(i)) for i in rows(out, read)["id"]])
        wanted = run.model.encode_image(pixels).embedding
    else:
        assert "0 images and 35 captions" in said and "not embedded" not in said
        texts = [text for _, text in expected_captions(source, first=True)]
        wanted = run.model.encode_text(run.tokenize(texts)).embedding
        assert main([*flags, "--index"]) == 1
        assert "no image tower; leave it out" in capsys.readouterr().err
    assert np.load(out / read / "00000.npy").dtype == np.float16
    np.testing.assert_allclose(rows(out, read)["embedding"], wanted, rtol=1e-3, atol=1e-6)


def test_without_a_tokenizer_images_are_embedded_and_captions_named(
    model, data, folder, embedded, capsys
):
    out = folder / "wordless"
    assert embed(model, data, out, "--tokenizer=none") == 0
    assert "captions are not embedded" in capsys.readouterr().out
    images, others = rows(out, "images"), rows(embedded, "images")
    assert images["caption"] == others["caption"] and rows(out, "captions")["id"] == []
    np.testing.assert_array_equal(images["embedding"], others["embedding"])


@pytest.mark.slow
def test_killed_anywhere_and_started_again_it_ends_with_the_same_bytes(model, data, folder):
    flags = ("--captions=all", "--shard-size=2")
    whole, out = folder / "whole", folder / "killed"
    assert embed(model, data, whole, *flags) == 0
    line, environment = command(*arguments(model, data, out, *flags), devices=8)
    done: set[tuple[str, int]] = set()
    for _ in range(2):
        target = len(done) + random.randint(0, 4)
        process = subprocess.Popen(
            line, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while process.poll() is None and len(finished(out)) <= target:
            time.sleep(0.001)
        time.sleep(random.random() * 0.03)
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=60)
        assert done < finished(out)  # what was done before was not done again
        done = finished(out)
    assert embed(model, data, out, *flags) == 0
    assert done <= finished(out)
    assert payload(out) == payload(whole) and leftovers(out) == []


def finished(out) -> set[tuple[str, int]]:
    """The shards that are done, and which file says so."""
    return {(path.name, path.stat().st_ino) for path in (out / "done").glob("*.json")}


def test_a_finished_job_started_again_writes_no_shard(model, data, embedded):
    def stamps():
        paths = [*embedded.rglob("*.parquet"), *embedded.rglob("*.npy"), *embedded.rglob("*.json")]
        return {path: path.stat().st_mtime_ns for path in paths}

    before = stamps()
    assert embed(model, data, embedded, "--captions=all", "--batch-size=8") == 0
    assert stamps() == before


@pytest.mark.slow
def test_two_processes_write_the_files_of_one(model, data, folder, embedded):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    out = folder / "two"
    flags = arguments(model, data, out, "--captions=all")
    flags += [f"--coordinator=127.0.0.1:{port}", "--num-processes=2"]
    started = []
    for i in (0, 1):
        line, environment = command(*flags, f"--process-id={i}", devices=2)
        with (folder / f"two-{i}.log").open("w") as log:
            started.append(
                subprocess.Popen(line, env=environment, stdout=log, stderr=subprocess.STDOUT)
            )
    codes = [process.wait(timeout=240) for process in started]
    said = [(folder / f"two-{i}.log").read_text() for i in (0, 1)]
    assert codes == [0, 0], said
    assert "28 images and 43 captions" in said[0] and "images" not in said[1]
    assert payload(out).keys() == payload(embedded).keys() and leftovers(out) == []
    for kind in ("images", "captions"):
        one, two = rows(embedded, kind), rows(out, kind)
        np.testing.assert_allclose(two.pop("embedding"), one.pop("embedding"), atol=1e-6)
        assert two == one
    assert keys_of_index(out) == keys_of_index(embedded)


def keys_of_index(out) -> list[int]:
    from usearch.index import Index

    return sorted(int(key) for key in Index.restore(str(out / "images.usearch")).keys)


def test_the_index_holds_every_readable_image_once(embedded):
    assert keys_of_index(embedded) == rows(embedded, "images")["id"]


def test_a_search_in_the_embeddings_finds_what_a_search_in_the_data_finds(
    model, data, embedded, tmp_path, capsys
):
    assert (
        main(["search", f"--model={model}", f"--data={data}", "before it says what it kept"]) == 0
    )
    capsys.readouterr()
    for query in ("a red bar", "blue ✨", "日本"):
        found = []
        for where in ([f"--embeddings={embedded}"], [f"--model={model}", f"--data={data}"]):
            out = tmp_path / f"{where[0][2]}.png"
            assert main(["search", *where, "--top=5", f"--out={out}", query]) == 0
            found.append(capsys.readouterr().out.replace(str(out), ""))
            assert out.read_bytes().startswith(b"\x89PNG")
        assert found[0] == found[1] and found[0].count("\n") >= 5


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--shard-size=8"], "another shard_size, 7, and this job has 8"),
        (["--captions=first"], "another captions, all, "),
        (["--dtype=float16"], "another dtype, float32, "),
        (["--image-size=32"], "another model, "),
        (["--tokenizer=none"], "another tokenizer, "),
        (["--shard-size=0"], "--shard-size must be at least 1, got 0"),
        (["--batch-size=-1"], "--batch-size must be at least 1, got -1"),
    ],
)
def test_another_job_in_the_folder_is_refused(model, data, embedded, capsys, flags, said):
    before = payload(embedded)
    assert embed(model, data, embedded, "--captions=all", *flags) == 1
    assert said in capsys.readouterr().err
    assert payload(embedded) == before


def test_other_weights_or_other_data_in_the_folder_are_refused(
    model, data, folder, embedded, tmp_path, capsys
):
    other = save_run(tiny.make_run("clip", seed=1), tmp_path / "other")
    assert embed(other, data, embedded, "--captions=all") == 1
    assert "embeddings of another model" in capsys.readouterr().err
    pairs = write_pairs(tmp_path / "other.tar")
    assert embed(model, pairs, embedded, "--captions=all") == 1
    assert "embeddings of another data" in capsys.readouterr().err
    assert main(["search", f"--embeddings={embedded}", f"--data={pairs}", "a heart"]) == 1
    assert "--data must be what was embedded" in capsys.readouterr().err
    assert main(["search", f"--embeddings={embedded}", "--image-size=32", "a heart"]) == 1
    assert "--image-size is as it was for vlp embed; leave it out" in capsys.readouterr().err


def test_data_that_has_moved_is_said_so(model, tmp_path, capsys):
    data = write_pairs(tmp_path / "pairs.tar", copies=1)
    assert embed(model, data, tmp_path / "e") == 0
    data.rename(tmp_path / "moved.tar")
    capsys.readouterr()
    assert main(["search", f"--embeddings={tmp_path / 'e'}", "a heart"]) == 1
    assert "if the data has moved, say where to by --data" in capsys.readouterr().err
    moved = f"--data={tmp_path / 'moved.tar'}"
    assert main(["search", f"--embeddings={tmp_path / 'e'}", moved, "a heart"]) == 0


def test_a_folder_without_an_index_names_the_remedy(model, data, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "usearch", None)
    assert embed(model, data, tmp_path / "e") == 1
    assert "pip install 'vlp[index]'" in capsys.readouterr().err
    assert not (tmp_path / "e").exists()


def test_a_folder_that_another_job_writes_to_is_refused_and_left_alone(
    model, data, embedded, capsys
):
    before = payload(embedded)
    with Lock(embedded):
        assert embed(model, data, embedded, "--captions=all") == 1
    assert "another process writes there" in capsys.readouterr().err
    assert payload(embedded) == before


def test_threads_are_those_that_were_asked_for(model, data, tmp_path, monkeypatch):
    asked = []
    original = jobs.eval_images

    def counted(*args, num_threads, **settings):
        asked.append(num_threads)
        return original(*args, num_threads=num_threads, **settings)

    monkeypatch.setattr(jobs, "eval_images", counted)
    assert embed(model, data, tmp_path / "three", "--threads=3") == 0
    assert embed(model, data, tmp_path / "default") == 0
    assert set(asked[:6]) == {3} and set(asked[6:]) == {THREADS}


def test_what_cannot_be_embedded_or_indexed_is_refused_before_the_model_is_read(
    tmp_path, monkeypatch, capsys
):
    (tmp_path / "a.png").write_bytes(b"<html>")
    flags = ["embed", "--model=nowhere", f"--data={tmp_path / 'a.png'}", f"--out={tmp_path / 'e'}"]
    monkeypatch.setitem(sys.modules, "usearch", None)
    assert main([*flags, "--index"]) == 1
    assert "pip install 'vlp[index]'" in capsys.readouterr().err
