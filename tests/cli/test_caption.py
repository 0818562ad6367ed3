"""`vlp caption`: a line a picture, resumable, the same however it is spread."""

import json
import random
import signal
import socket
import subprocess
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from data_pipelines.decode import decode
from data_pipelines.faults import REASONS
from data_pipelines.images import ImagePreprocess
from data_pipelines.opening import open_source
from data_pipelines.text import train_sentencepiece
from tests.interop import tiny
from tests.small.runs import command, last_of_each, picture, write_pairs
from vlp.cli.main import main
from vlp.generation import beam, nucleus, prompt_tokens
from vlp.interop.card import build_card
from vlp.interop.load import load_run
from vlp.interop.loaded import Run, model_of, param_shapes
from vlp.interop.save import save_run
from vlp.jobs.caption_file import CaptionFile
from vlp.parallel.lock import Lock

LENGTH = 8
BAD = {"green-dot-1.png": b"<html>", "blue-dot-2.png": b"", "red-bar-0.png": b"\x89PNG\r\n"}


def captioner(seed=7) -> Run:
    """A small CoCa with noise for weights, and a tokenizer with a begin token."""
    lines = [f"a {c} {s}" for c in ("red", "green", "blue") for s in ("dot", "bar")] * 30
    tokenizer = train_sentencepiece(lines, vocab_size=300, name="tiny", begin=True)
    sizes = dict(width=16, depth=1, num_heads=2)
    kwargs = dict(
        image=dict(image_size=16, patch_size=8, class_token=True, **sizes)
        | dict(pool="queries", queries=dict(width=16, num_queries=4, num_heads=2)),
        text=dict(vocab_size=tokenizer.vocab_size, length=LENGTH, pool="cls_last", **sizes),
        decoder=dict(depth=1, num_heads=2),
        embed_dim=8,
    )
    rng = np.random.default_rng(seed)
    params = {name: values(rng, name, shape) for name, shape in param_shapes(kwargs).items()}
    preprocess = ImagePreprocess(16, resize="squash")
    card = build_card(
        model=kwargs,
        preprocess=preprocess.to_dict(),
        tokenizer=tokenizer,
        text_length=LENGTH,
        objective="coca",
        attribution="",
    )
    return Run(model_of(kwargs, params), preprocess, tokenizer, card, 0, "params", Path("tiny"))


def values(rng, name, shape):
    """Noise by which captions depend on the picture and on their own words."""
    noise = rng.normal(size=shape)
    if "kernel" in name:
        return noise * shape[-2] ** -0.5
    return 1 + 0.1 * noise if "norm" in name and "scale" in name else 0.3 * noise


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("caption")


@pytest.fixture(scope="module")
def model(folder):
    return save_run(captioner(), folder / "coca")


@pytest.fixture(scope="module")
def data(folder):
    """36 pictures, three of them unusable."""
    return write_pairs(folder / "pairs.tar", replace=BAD)


@pytest.fixture(scope="module")
def whole(model, data, folder):
    """The captions of one uninterrupted job."""
    out = folder / "whole.jsonl"
    assert caption(model, data, out) == 0
    return out


def caption(model, data, out, *flags) -> int:
    return main(arguments(model, data, out, *flags))


def arguments(model, data, out, *flags) -> list[str]:
    sizes = ["--part-size=7", "--batch-size=4"]
    places = [f"--model={model}", f"--data={data}", f"--out={out}"]
    return ["caption", *last_of_each(*places, *sizes, *flags)]


def lines(out) -> list[dict]:
    return [json.loads(line) for line in out.read_bytes().splitlines()]


def leftovers(out) -> list[str]:
    names = {path.name for path in out.parent.glob(f"*{out.name}*")}
    return sorted(names - {out.name, f"{out.name}.manifest.json", f"{out.name}.data.json"})


@pytest.fixture(scope="module")
def readable(model, data):
    """The run, the indices of the pictures that can be read, and what it makes of them."""
    run, source = load_run(model), open_source(str(data))
    good = [i for i in range(36) if f"{source.key(i)}.png" not in BAD]
    pixels = run.preprocess([decode(source.image(i)) for i in good])
    return run, good, run.model.encode_image(pixels)


def check_lines(out, readable, wanted):
    run, good, _ = readable
    found = [line for line in lines(out) if "caption" in line]
    assert [line["index"] for line in found] == good
    assert [line["caption"] for line in found] == run.tokenizer.decode(np.asarray(wanted.ids))
    np.testing.assert_allclose([line["score"] for line in found], wanted.scores, atol=1e-5)
    assert len({line["caption"] for line in found}) > 3


def test_a_line_says_what_the_model_writes_of_its_picture(whole, readable):
    run, _, image = readable
    check_lines(whole, readable, beam(run.model, image))


def test_what_is_drawn_follows_from_the_seed_and_the_place(model, data, folder, readable):
    out = folder / "nucleus.jsonl"
    flags = ["--method=nucleus", "--seed=5", "--top-p=0.8", "--min-length=3", "--length=6"]
    assert caption(model, data, out, *flags) == 0
    run, good, image = readable
    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(5), i))(jnp.int32(good))
    settings = dict(keys=keys, top_p=0.8, min_length=3, length=6)
    check_lines(out, readable, nucleus(run.model, image, **settings))


def test_captions_go_on_from_a_prompt_and_leave_it_out(model, data, folder, readable):
    run, good, image = readable
    out = folder / "prompted.jsonl"
    assert caption(model, data, out, "--prompt=a red") == 0
    prefix = prompt_tokens("a red", tokenize=run.tokenize, end_id=run.model.end_id)
    assert run.tokenizer.decode(np.array([prefix])) == ["a red"]
    wanted = beam(run.model, image, prefix=prefix)
    behind = np.asarray(wanted.ids)[:, 1 + len(prefix) :]
    found = [line for line in lines(out) if "caption" in line]
    assert [line["index"] for line in found] == good
    assert [line["caption"] for line in found] == run.tokenizer.decode(behind)
    np.testing.assert_allclose([line["score"] for line in found], wanted.scores, atol=1e-5)
    assert caption(model, data, out, "--prompt=a red") == 0  # the same job
    assert caption(model, data, out, "--prompt=a") == 1


def test_a_picture_that_cannot_be_read_has_a_line_and_no_caption(whole, data):
    found, source = lines(whole), open_source(str(data))
    assert [line["index"] for line in found] == list(range(36))
    assert [line["key"] for line in found] == [source.key(i) for i in range(36)]
    bad = {line["key"]: line for line in found if "error" in line}
    assert {f"{key}.png" for key in bad} == set(BAD)
    assert all(line.keys() == {"key", "index", "file", "error"} for line in bad.values())
    assert {line["error"] for line in bad.values()} <= set(REASONS)
    assert leftovers(whole) == []


def test_it_says_what_it_did_and_draws_it(model, data, tmp_path, capsys):
    out, sheet = tmp_path / "new" / "c.jsonl", tmp_path / "sheet.png"
    assert caption(model, data, out, f"--sheet={sheet}") == 0
    said = capsys.readouterr().out
    assert "33 captions in " in said and "image not recognised 2, image empty 1" in said
    assert sum(line["key"] in said for line in lines(out)) == 5
    with Image.open(sheet) as drawn:
        assert drawn.width > 900


def test_batches_and_parts_change_no_caption(model, data, folder, whole):
    out = folder / "other-sizes.jsonl"
    assert caption(model, data, out, "--batch-size=16", "--part-size=100") == 0
    assert [line | {"score": 0} for line in lines(out)] == [
        line | {"score": 0} for line in lines(whole)
    ]


def test_killed_anywhere_and_started_again_it_ends_with_the_same_lines(model, data, folder, whole):
    out = folder / "killed.jsonl"
    line, environment = command(*arguments(model, data, out), devices=8)
    target = random.randint(1, 20)
    process = subprocess.Popen(
        line, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while process.poll() is None and count(out) < target:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    assert count(out) > 0
    assert caption(model, data, out) == 0
    assert out.read_bytes() == whole.read_bytes() and leftovers(out) == []


def count(out) -> int:
    parts = out.with_name(f"{out.name}.parts").glob("*.jsonl")
    return 36 if out.is_file() else sum(path.read_bytes().count(b"\n") for path in parts)


def test_half_a_line_is_cut_off_and_nothing_is_written_twice(model, data, folder, whole):
    out = folder / "half.jsonl"
    manifest = json.loads(whole.with_name("whole.jsonl.manifest.json").read_text())
    file = CaptionFile(out, manifest)
    file.claim()
    texts = whole.read_bytes().splitlines(keepends=True)
    marked = [line.replace(b'"key"', b'"done": 1, "key"') for line in texts]
    parts = {0: marked[:7], 1: [*marked[7:9], marked[9][:20]], 3: [marked[21][:1]]}
    for part, rows in parts.items():
        (file.parts / f"{part:05d}.jsonl").write_bytes(b"".join(rows))
    assert [file.lines(part) for part in range(6)] == [7, 2, 0, 0, 0, 0]
    assert caption(model, data, out) == 0
    found = lines(out)
    assert [line.pop("done", 0) for line in found] == [1] * 9 + [0] * 27
    assert found == lines(whole) and leftovers(out) == []


def test_a_finished_job_started_again_writes_nothing(model, data, whole, capsys):
    before = {path: path.stat().st_mtime_ns for path in whole.parent.glob("whole.jsonl*")}
    assert caption(model, data, whole, "--batch-size=9") == 0
    assert "33 captions" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in whole.parent.glob("whole.jsonl*")} == before


@pytest.mark.slow
def test_two_processes_write_the_file_of_one(model, data, folder, whole):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    out, started = folder / "two.jsonl", []
    flags = arguments(model, data, out, f"--coordinator=127.0.0.1:{port}", "--num-processes=2")
    for i in (0, 1):
        line, environment = command(*flags, f"--process-id={i}", devices=2)
        with (folder / f"two-{i}.log").open("w") as log:
            started.append(
                subprocess.Popen(line, env=environment, stdout=log, stderr=subprocess.STDOUT)
            )
    codes = [process.wait(timeout=240) for process in started]
    said = [(folder / f"two-{i}.log").read_text() for i in (0, 1)]
    assert codes == [0, 0], said
    assert "33 captions" in said[0] and "captions" not in said[1]
    assert [line | {"score": 0} for line in lines(out)] == [
        line | {"score": 0} for line in lines(whole)
    ]
    assert leftovers(out) == []


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--method=greedy"], "captions of another method, beam, and this job has greedy"),
        (["--beams=4"], "captions of another settings, "),
        (["--part-size=8"], "captions of another part_size, 7, and this job has 8"),
        (["--image-size=32"], "captions of another model, "),
        (["--top-p=0.5"], "--top-p is of --method=nucleus, got --method=beam; leave one of them"),
        (["--method=greedy", "--beams=2"], "--beams is of --method=beam, got --method=greedy"),
        (["--method=nucleus", "--top-p=0"], "top_p must be above 0 and at most 1, got 0.0"),
        (["--length=9"], "length must be from 2, the first token and one more, to the model's 8"),
        (["--beams=0"], "--beams must be at least 1, got 0"),
        (["--batch-size=0"], "--batch-size must be at least 1, got 0"),
        (["--prompt=a red dot, a red bar, a blue dot"], "prompt must have fewer than 6 tokens"),
        (["--tokenizer=none"], "captions need the model's tokenizer to be read"),
    ],
)
def test_another_job_and_wrong_settings_are_refused(model, data, whole, capsys, flags, said):
    before = whole.read_bytes()
    assert caption(model, data, whole, *flags) == 1
    assert said in capsys.readouterr().err
    assert whole.read_bytes() == before


def test_other_files_and_models_are_refused(model, data, folder, tmp_path, capsys):
    other = tmp_path / "notes.jsonl"
    other.write_text("mine\n")
    assert caption(model, data, other) == 1
    assert "holds something else; give another" in capsys.readouterr().err
    assert other.read_text() == "mine\n"
    assert caption(model, data, tmp_path) == 1
    assert "--out must be a file" in capsys.readouterr().err
    clip = tiny.save_run(tiny.make_run("clip"), tmp_path / "clip")
    assert caption(clip, data, tmp_path / "c.jsonl") == 1
    assert "only a model with a decoder writes captions" in capsys.readouterr().err
    assert not (tmp_path / "c.jsonl.parts").exists()


def test_a_model_that_knows_no_first_token_is_refused(data, tmp_path, capsys):
    run = captioner()
    tokenizer = train_sentencepiece(["a red dot"] * 50, vocab_size=300, name="tiny")
    card = run.card | {"tokenizer": run.card["tokenizer"] | {"sha256": tokenizer.sha256}}
    card["tokenizer"].pop("settings", None)
    saved = tmp_path / "beginless"
    save_run(Run(run.model, run.preprocess, tokenizer, card, 0, "params", Path("tiny")), saved)
    assert caption(saved, data, tmp_path / "c.jsonl") == 1
    assert "trained with a tokenizer that has none" in capsys.readouterr().err


def test_pictures_of_a_folder_and_a_single_one_are_captioned(model, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for colour in ("red", "blue"):
        (folder / f"{colour}.png").write_bytes(picture(colour, "bar"))
    assert caption(model, folder, tmp_path / "two.jsonl") == 0
    assert caption(model, folder / "red.png", tmp_path / "one.jsonl") == 0
    (one,), two = lines(tmp_path / "one.jsonl"), lines(tmp_path / "two.jsonl")
    assert [line["key"] for line in two] == ["blue.png", "red.png"]
    assert one["caption"] == two[1]["caption"]


def test_data_without_a_readable_picture_are_refused_and_nothing_is_written(
    model, tmp_path, capsys
):
    (tmp_path / "a.png").write_bytes(b"<html>")
    assert caption(model, tmp_path / "a.png", tmp_path / "c.jsonl") == 1
    assert "image not recognised 1" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_a_file_that_another_job_writes_is_refused_and_left_alone(model, data, whole, capsys):
    before = {path: path.read_bytes() for path in whole.parent.glob("whole.jsonl*")}
    with Lock.beside(whole):
        assert caption(model, data, whole) == 1
    assert "another process writes there" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in whole.parent.glob("whole.jsonl*")} == before


def test_what_the_data_hold_lies_beside_the_captions(whole):
    (part,) = json.loads(whole.with_name("whole.jsonl.data.json").read_text())["captioning"]
    assert part["samples"] == 36 and part["strays"] == []


@pytest.fixture
def captions(tmp_path):
    """A file of captions of twelve pictures, whose parts may be written; and a line of it."""
    manifest = dict(samples=12, part_size=5)
    file = CaptionFile(tmp_path / "c.jsonl", manifest)
    file.claim()
    return file, lambda: CaptionFile(tmp_path / "c.jsonl", manifest)


@pytest.mark.parametrize("count", [5, 13])
def test_a_finished_file_with_other_lines_is_refused_with_the_remedy(captions, count):
    file, again = captions
    file.path.write_text('{"key": "a"}\n' * 12)
    assert again().is_done(2)
    file.path.write_text('{"key": "a"}\n' * count)
    with pytest.raises(ValueError, match=f"must have 12 lines, .* got {count}; .* or remove it"):
        again()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"key": "a"}\n' * 6, "00000.jsonl must have a line a picture, 5 at most, got 6; remove"),
        ('{"key": "a"}\n\n', "00000.jsonl, line 2: must be a caption as JSON, got .*; remove"),
    ],
)
def test_a_part_that_is_not_as_it_was_written_is_refused_with_its_name(captions, text, said):
    file, again = captions
    (file.parts / "00000.jsonl").write_text(text)
    with pytest.raises(ValueError, match=said):
        again().is_done(0)
