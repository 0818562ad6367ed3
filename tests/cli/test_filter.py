"""`vlp filter`: captions that match stay, with where they came from; resumable to the byte."""

import json
import re
import socket
import subprocess
import tarfile
from pathlib import Path

import jax
import numpy as np
import pytest

from data_pipelines.decode import decode
from data_pipelines.images import ImagePreprocess
from data_pipelines.limits import Limits
from data_pipelines.opening import open_source
from data_pipelines.sources.base import sound_of
from data_pipelines.text import clean_caption, train_sentencepiece
from tests.small.runs import COLOURS, SHAPES, TINY, add, command, last_of_each, losses, write_pairs
from vlp.cli.main import main
from vlp.interop.card import build_card
from vlp.interop.load import load_run
from vlp.interop.loaded import Run, model_of, param_shapes
from vlp.interop.save import save_run
from vlp.jobs import filter as filtering
from vlp.jobs.filter_folder import FilterFolder

LENGTH, THRESHOLD = 8, 0.75
BAD = {"green-dot-1.png": b"<html>", "red-bar-0.png": b"", "blue-dot-2.txt": b" "}
TEXT = dict(kind="bert", num_types=None, pooler=False, width=16, depth=1, num_heads=2)


def blip(modes=("encode", "decode"), **changes) -> Run:
    """A small BLIP with noise for weights, by which matches depend on picture and words."""
    lines = [f"a {c} {s}" for c in ("red", "green", "blue") for s in ("dot", "bar")] * 30
    tokenizer = train_sentencepiece(lines, vocab_size=300, name="tiny", begin=True)
    vocab_size = tokenizer.vocab_size + 2
    kwargs = dict(
        image=dict(image_size=16, patch_size=8, width=16, depth=1, num_heads=2),
        text=TEXT | dict(vocab_size=vocab_size, length=LENGTH, causal="encode" not in modes),
        modes=list(modes),
        embed_dim=16,
        end_id=tokenizer.eos_id,
        **changes,
    )
    rng = np.random.default_rng(4)
    params = {name: values(rng, name, shape) for name, shape in param_shapes(kwargs).items()}
    preprocess = ImagePreprocess(16, resize="squash")
    card = build_card(
        model=kwargs,
        preprocess=preprocess.to_dict(),
        tokenizer=tokenizer,
        text_length=LENGTH,
        objective="blip",
        attribution="",
    )
    return Run(model_of(kwargs, params), preprocess, tokenizer, card, 0, "params", Path("tiny"))


def values(rng, name, shape):
    noise = rng.normal(size=shape)
    if name == "match_head/bias":  # no answer is likelier whatever is asked
        return 0 * noise
    if "kernel" in name:
        return noise * shape[-2] ** -0.5
    return 1 + 0.1 * noise if "norm" in name and "scale" in name else 0.5 * noise


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("filter")


@pytest.fixture(scope="module")
def model(folder):
    return save_run(blip(), folder / "blip")


@pytest.fixture(scope="module")
def data(folder):
    """36 pictures; two cannot be read, one has no caption."""
    return write_pairs(folder / "pairs.tar", replace=BAD)


@pytest.fixture(scope="module")
def synthetic(model, data, folder):
    """Captions by the model itself, and one that repeats the web's."""
    out = folder / "synthetic.jsonl"
    sizes = ["--part-size=9", "--batch-size=4"]
    flags = [f"--model={model}", f"--data={data}", f"--out={out}", "--method=nucleus", *sizes]
    assert main(["caption", *flags]) == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    again = next(line for line in lines if "caption" in line)
    lines.append(again | {"caption": open_source(data).captions(again["index"])[0].decode()})
    out.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return out


def arguments(model, data, out, *flags) -> list[str]:
    sizes = ["--part-size=7", "--batch-size=4", f"--threshold={THRESHOLD}"]
    places = [f"--model={model}", f"--data={data}", f"--out={out}"]
    return ["filter", *last_of_each(*places, *sizes, *flags)]


@pytest.fixture(scope="module")
def whole(model, data, synthetic, folder):
    """The result of one uninterrupted job."""
    assert main(arguments(model, data, folder / "whole", f"--captions={synthetic}")) == 0
    return folder / "whole"


def manifest(out) -> list[dict]:
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]


def named(out) -> list[tuple]:
    return [(line["index"], line.get("source"), line.get("caption")) for line in manifest(out)]


def files(out) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir()}


def test_every_caption_has_its_score_and_is_kept_by_the_threshold(whole, model, data, synthetic):
    run, source = load_run(model), open_source(data)
    scored = [line for line in manifest(whole) if "error" not in line]
    images = run.preprocess([decode(source.image(line["index"])) for line in scored])
    ids = run.tokenize([line["caption"] for line in scored])
    image, caption = run.model.encode_image(images), run.model.encode_text(ids)
    match = np.asarray(jax.nn.softmax(run.model.match(image, caption, ids))[:, 1])
    np.testing.assert_allclose([line["score"] for line in scored], match, atol=1e-5)
    kept = [line["kept"] for line in scored]
    assert kept == [line["score"] >= THRESHOLD for line in scored]
    assert len(set(kept)) == 2 and {line["source"] for line in scored} == {"web", "synthetic"}


def test_what_was_written_is_the_web_s_and_the_model_s_captions_once_each(whole, data, synthetic):
    source, found = open_source(data), manifest(whole)
    web = {(line["index"], line["caption"]) for line in found if line.get("source") == "web"}
    made = {(line["index"], line["caption"]) for line in found if line.get("source") == "synthetic"}
    rows = [json.loads(line) for line in synthetic.read_text().splitlines()]
    rows = [row for row in rows if row.get("caption", "").strip()]
    theirs = {(row["index"], clean_caption(row["caption"])) for row in rows}
    assert not web & made and made == theirs - web
    assert len(web) == 36 - len(BAD) and len(found) == len(web | made) + 2
    errors = [line for line in found if "error" in line]
    assert {f"{line['key']}.png" for line in errors} == {n for n in BAD if n.endswith("png")}
    assert [line["index"] for line in found] == sorted(line["index"] for line in found)
    assert all(source.key(line["index"]) == line["key"] for line in found)


def test_the_tars_hold_what_is_kept_and_nothing_else(whole, data):
    before, after = open_source(data), open_source(f"{whole}/*.tar")
    kept: dict[int, list[dict]] = {}
    for line in manifest(whole):
        if line.get("kept"):
            kept.setdefault(line["index"], []).append(line)
    assert 0 < len(after) == len(kept) < 36
    for place, (index, lines) in enumerate(kept.items()):
        sample = after[place]
        assert sample.image == before.image(index)
        assert [text.decode() for text in sample.captions] == [line["caption"] for line in lines]
        told = sample.meta["vlp_filter"]
        assert told["key"] == before.key(index)
        assert told["sources"] == [line["source"] for line in lines]
        assert "kind" in sample.meta or lines[0]["source"] == "synthetic"


def test_a_stopped_job_goes_on_to_the_same_bytes(
    whole, model, data, synthetic, folder, monkeypatch
):
    out, judge, calls = folder / "stopped", filtering.Filter.judge, []

    def failing(self, *args, **settings):
        calls.append(args[0])
        if len(calls) == 4:
            raise RuntimeError("stopped")
        return judge(self, *args, **settings)

    monkeypatch.setattr(filtering.Filter, "judge", failing)
    flags = arguments(model, data, out, f"--captions={synthetic}")
    assert main(flags) == 1 and not (out / "manifest.jsonl").exists()
    monkeypatch.setattr(filtering.Filter, "judge", judge)
    assert main(flags) == 0 and calls == [0, 7, 14, 21]
    assert files(out) == files(whole)
    assert main(flags) == 0 and files(out) == files(whole)


@pytest.mark.slow
def test_two_processes_write_the_files_of_one(whole, model, data, synthetic, folder):
    """Of one process with as many devices: batches of other shapes round otherwise."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    two, one = folder / "two", folder / "one"
    join = [f"--coordinator=127.0.0.1:{port}", "--num-processes=2"]
    together = [(two, *join, f"--process-id={i}") for i in (0, 1)]
    started = []
    for out, *flags in (*together, (one,)):
        line, environment = command(
            *arguments(model, data, out, f"--captions={synthetic}", *flags), devices=2
        )
        with (folder / f"process-{len(started)}.log").open("w") as log:
            process = subprocess.Popen(line, env=environment, stdout=log, stderr=log)
        started.append(process)
    codes = [process.wait(timeout=240) for process in started]
    said = [(folder / f"process-{i}.log").read_text() for i in range(3)]
    assert codes == [0, 0, 0], said
    assert files(two) == files(one)
    assert "captions kept" in said[0] and "captions kept" not in said[1]
    assert len(set(named(two))) == len(named(two)) and named(two) == named(whole)


def test_the_web_alone_can_be_filtered(whole, model, data, folder, capsys):
    assert main(arguments(model, data, folder / "web")) == 0
    wanted = [line for line in manifest(whole) if line.get("source") != "synthetic"]
    found, scores = manifest(folder / "web"), []
    (without,) = (line for line in found if line.get("error") == "caption missing")
    assert without["key"] == "blue-dot-2"  # which has a synthetic one
    found.remove(without)
    for lines in (found, wanted):
        scores.append([line.pop("score") for line in lines if "score" in line])
    assert found == wanted
    np.testing.assert_allclose(*scores, atol=1e-5)
    said = capsys.readouterr().out
    assert "of 33 web captions kept (" in said and "synthetic" not in said
    told = next(line for line in said.splitlines() if line.split()[:1] == ["web"]).split()[1:]
    shares = (0, 0.05, 0.25, 0.5, 0.75, 0.95, 1)
    np.testing.assert_allclose([float(v) for v in told], np.quantile(scores[0], shares), atol=6e-4)


def test_fields_of_the_data_stay_and_a_second_filter_keeps_what_the_first_said(
    model, folder, tmp_path
):
    own = {"red-bar-0.json": b'{"filter": "mine"}'}
    data = write_pairs(tmp_path / "pairs.tar", copies=1, replace=own)
    assert main(arguments(model, data, tmp_path / "once", "--threshold=0")) == 0
    once = f"{tmp_path / 'once'}/*.tar"
    assert main(arguments(model, once, tmp_path / "twice", "--threshold=0")) == 0
    before, after = open_source(data), open_source(f"{tmp_path / 'twice'}/*.tar")
    keys = {before.key(i): i for i in range(12)}
    metas = [after.meta(i) for i in range(12)]
    assert {meta["vlp_filter"]["before"]["key"] for meta in metas} == set(keys)
    for meta in metas:
        told = meta.pop("vlp_filter")
        assert meta == before.meta(keys[told["before"]["key"]])


def test_sounds_stay_and_what_cannot_be_read_of_a_sample_is_counted(
    model, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("vlp.cli.arguments.LIMITS", Limits(audio_bytes=20))
    pairs = write_pairs(tmp_path / "pairs.tar", copies=1, replace={"red-bar-0.json": b"no JSON"})
    sounds = {"red-bar-0": b"OggS of a bar", "red-dot-0": b"fLaC of a dot", "blue-bar-0": bytes(99)}
    data, out = tmp_path / "heard.tar", tmp_path / "out"
    with tarfile.open(pairs) as silent, tarfile.open(data, "w") as tar:
        for member in silent:
            add(tar, member.name, silent.extractfile(member).read())
            if member.name.endswith(".txt") and (key := member.name[:-4]) in sounds:
                add(tar, f"{key}.ogg", sounds[key])
    assert main(arguments(model, data, out, "--threshold=0")) == 0
    said = "left out of samples that were kept: audio too large 1, metadata invalid 1"
    assert said in capsys.readouterr().out
    after = open_source(f"{out}/*.tar")
    heard = {after.meta(i)["vlp_filter"]["key"]: sound_of(after, i) for i in range(len(after))}
    assert len(heard) == 12
    assert {key: sound for key, sound in heard.items() if sound} == {
        key: sound for key, sound in sounds.items() if key != "blue-bar-0"
    }
    lost = {line["key"]: line["left_out"] for line in manifest(out) if "left_out" in line}
    assert lost == {"red-bar-0": ["metadata invalid"], "blue-bar-0": ["audio too large"]}


def test_data_without_a_caption_end_with_an_error(model, tmp_path, capsys):
    bare = {f"{c}-{s}-0.txt": b" " for c in COLOURS for s in SHAPES}
    data = write_pairs(tmp_path / "pairs.tar", copies=1, replace=bare)
    assert main(arguments(model, data, tmp_path / "out")) == 1
    said = capsys.readouterr()
    assert "caption missing 12" in said.out and "has no caption of a picture" in said.err


def test_where_nothing_is_left_it_says_what_threshold_would_keep_half(model, data, folder, capsys):
    out = folder / "none"
    assert main(arguments(model, data, out, "--threshold=1")) == 0
    said = capsys.readouterr().out
    assert "0 of 33 web captions kept (0.0%)" in said and not list(out.glob("*.tar"))
    half = float(re.search(r"lower --threshold: (\S+) would keep about half", said)[1])
    scores = [line["score"] for line in manifest(out) if "score" in line]
    assert 0.4 < np.mean(np.asarray(scores) >= half) < 0.6


@pytest.mark.slow
def test_a_model_trains_on_what_was_written(whole, folder, tmp_path):
    kept = {line["index"] for line in manifest(whole) if line.get("kept")}
    config = f"{TINY}:data={whole}/*.tar,steps=5,batch=8,objective=blip"
    flags = ["--config.evals.same.group=", "--config.export.out=exported", "--log-ids"]
    assert main(["train", f"--config={config}", f"--workdir={tmp_path / 'again'}", *flags]) == 0
    assert sorted(losses(tmp_path / "again")) == [1, 2, 3, 4, 5]
    rows = (tmp_path / "again" / "ids.jsonl").read_text().splitlines()
    assert {i for row in map(json.loads, rows) for i in row["ids"]} == set(range(len(kept)))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--threshold=0.6"], "filtered with another threshold, 0.75, and this job has 0.6"),
        (["--part-size=8"], "filtered with another part_size"),
        (["--threshold=2"], "--threshold must be a probability, got 2.0"),
    ],
)
def test_another_job_in_the_same_folder_is_refused(
    whole, model, data, synthetic, flags, said, capsys
):
    assert main(arguments(model, data, whole, f"--captions={synthetic}", *flags)) == 1
    assert said in capsys.readouterr().err


def test_captions_of_other_data_are_refused(model, data, folder, capsys):
    for line, said in (
        ({"key": "nobody", "index": 3, "caption": "a cat"}, "of a sample of --data, got 'nobody'"),
        ({"key": "red-dot-0", "index": 99, "caption": "a cat"}, "of a sample of --data"),
        ({"key": "red-dot-0", "caption": "a cat"}, "as vlp caption writes it, with key and index"),
        ({"key": "red-dot-0", "index": 0, "caption": 5}, "a caption must be a string, got 5"),
    ):
        other = folder / "other.jsonl"
        other.write_text(json.dumps(line) + "\n")
        assert main(arguments(model, data, folder / "no", f"--captions={other}")) == 1
        assert said in capsys.readouterr().err
    assert not (folder / "no").exists()


def test_a_model_that_only_writes_is_refused(data, folder, capsys):
    writer = save_run(blip(("decode",), image_projection="none"), folder / "writer")
    assert main(arguments(writer, data, folder / "no")) == 1
    assert "needs a model that tells whether image and text belong" in capsys.readouterr().err


@pytest.fixture
def half(tmp_path):
    """A folder with two of two parts, not yet joined; the first kept a caption."""
    folder = FilterFolder(tmp_path / "clean", dict(samples=4, part_size=2))
    folder.claim()
    for part, kept in ((0, True), (1, False)):
        line = dict(key="k", index=2 * part, source="web", caption="c", score=0.5, kept=kept)
        folder.put(part, [line, dict(key="b", index=2 * part + 1, error="e")], [b""] * kept)
    return folder


def test_a_part_whose_tar_is_gone_is_not_done_and_that_is_said(half, caplog):
    half.claim()
    assert half.is_done(0) and half.is_done(1) and not caplog.text
    (half.path / "00000.tar").unlink()
    half.claim()
    assert not half.is_done(0) and half.is_done(1)
    assert "00000.tar is gone, its part is made anew" in caplog.text


def test_a_finished_folder_whose_tar_is_gone_is_refused_with_its_name(half):
    half.finish()
    half.claim()
    (half.path / "00000.tar").unlink()
    with pytest.raises(ValueError, match="is finished and must have 00000.tar, .* another --out"):
        half.claim()
