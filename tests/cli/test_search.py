"""`vlp search`: a second one embeds its words alone, and finds the same."""

import os
import subprocess
import sys

import numpy as np
import pytest

from data_pipelines.threads import THREADS
from tests.interop import tiny
from tests.small.runs import COLOURS, SHAPES, picture, write_pairs
from vlp.cli.main import main
from vlp.evals.embed import Encoder
from vlp.interop.save import save_run
from vlp.jobs import kept_images
from vlp.jobs.kept_images import Kept, find, keep, name_of

KEY = dict(model="m", preprocess={"size": 8}, data="d")


@pytest.fixture
def run(tmp_path):
    return save_run(tiny.make_run("clip"), tmp_path / "run")


@pytest.fixture
def search(run, tmp_path, capsys):
    """Runs `vlp search` in the run: (exit code, standard output)."""

    def call(*words, data, model=run):
        flags = [f"--model={model}", f"--data={data}", f"--out={tmp_path / 's.png'}", "--top=3"]
        code = main(["search", *flags, *words])
        return code, capsys.readouterr().out

    return call


def embeds(monkeypatch) -> list[int]:
    """Counts the images that are embedded from now on."""
    seen: list[int] = []
    original = Encoder.embedding

    def counted(self, *args, **kwargs):
        found = yield from original(self, *args, **kwargs)
        seen.append(len(found))
        return found

    monkeypatch.setattr(Encoder, "embedding", counted)
    return seen


def results(said: str) -> list[str]:
    return [line for line in said.splitlines() if line[:1] in "-0" and line[1:2] in "01."]


def test_a_second_search_embeds_nothing_and_finds_the_same(search, run, pairs, monkeypatch):
    seen = embeds(monkeypatch)
    code, first = search("a red bar", data=pairs)
    assert code == 0 and seen == [36] and "embedded 36 images, kept in" in first
    code, second = search("a", "red", "bar", data=pairs)  # words without quotes are one query
    assert code == 0 and seen == [36] and results(second) == results(first) != []
    search("something else", data=pairs)
    assert seen == [36] and len(list((run / "search").iterdir())) == 1


def test_other_weights_data_or_sizes_are_embedded_anew(search, run, pairs, tmp_path, monkeypatch):
    seen = embeds(monkeypatch)
    search("a", data=pairs)
    write_pairs(pairs, copies=2)
    search("a", data=pairs)
    other = save_run(tiny.make_run("clip", seed=1), tmp_path / "other")
    (other / "search").mkdir()
    for kept in (run / "search").iterdir():
        (other / "search" / kept.name).write_bytes(kept.read_bytes())
    search("a", data=pairs, model=other)
    assert main(["search", f"--model={run}", f"--data={pairs}", "--image-size=32", "a"]) == 0
    assert seen == [36, 24, 24, 24]


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 cut", None])
def test_a_damaged_file_is_made_again(search, run, pairs, monkeypatch, damage):
    _, first = search("a", data=pairs)
    (kept,) = (run / "search").iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    seen = embeds(monkeypatch)
    _, again = search("a", data=pairs)
    assert seen == [36] and results(again) == results(first) and kept.read_bytes() == whole


def test_pictures_without_captions_are_found_by_their_names(search, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for colour in COLOURS:
        for shape in SHAPES:
            (folder / f"{colour}-{shape}.png").write_bytes(picture(colour, shape))
    (folder / "broken.jpg").write_bytes(b"<html>")
    code, said = search("red", data=folder)
    assert code == 0 and len(results(said)) == 3
    assert all(line.endswith(".png") for line in results(said))
    assert "images left out: image not recognised 1" in said
    code, said = search("red", data=folder / "red-bar.png")
    assert code == 0 and len(results(said)) == 1


def test_data_or_a_model_that_cannot_be_searched_are_refused(search, tmp_path, pairs, capsys):
    bad = {f"{c}-{s}-{i}.png": b"" for c in COLOURS for s in SHAPES for i in range(3)}
    write_pairs(tmp_path / "bad.tar", replace=bad)
    assert main(["search", f"--model={tmp_path / 'run'}", f"--data={tmp_path / 'bad.tar'}", "a"])
    assert "image empty 36" in capsys.readouterr().err
    assert main(["search", f"--model={tmp_path / 'run'}", f"--data={pairs}", "--threads=0", "a"])
    assert "--threads must be at least 1" in capsys.readouterr().err


def test_threads_are_refused_where_nothing_is_embedded(tmp_path, capsys):
    threads = THREADS + 1
    assert main(["search", f"--embeddings={tmp_path}", f"--threads={threads}", "a heart"]) == 1
    said = capsys.readouterr().err
    assert f"--threads decode the data that --model embeds, got {threads}" in said


def kept(rows=4):
    rng = np.random.default_rng(rows)
    return Kept(rng.normal(size=(rows, 3)).astype(np.float32), np.arange(rows))


def test_every_part_of_the_name_counts():
    others = dict(model="x", preprocess={"size": 9}, data="x")
    names = {name_of(**KEY | {part: other}) for part, other in others.items()}
    assert len(names | {name_of(**KEY)}) == 4


def test_what_is_kept_comes_back_exactly_and_otherwise_nothing(tmp_path):
    name = name_of(**KEY)
    assert find(name, tmp_path) is None
    assert keep(name, kept(), tmp_path) == tmp_path / "search" / name
    for array, wanted in zip(find(name, tmp_path), kept(), strict=True):
        np.testing.assert_array_equal(array, wanted)


def test_a_folder_that_cannot_be_written_to_leaves_it_to_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VLP_CACHE", str(tmp_path / "cache"))
    (tmp_path / "search").write_text("a file where the folder would be")
    name = name_of(**KEY)
    assert keep(name, kept(), tmp_path) == tmp_path / "cache" / "galleries" / name
    assert find(name, tmp_path) is not None and find(name, None) is not None
    monkeypatch.setenv("VLP_CACHE", str(tmp_path / "search" / "below a file"))
    assert keep(name, kept(), tmp_path) is None and find(name, None) is None


def test_what_was_not_searched_for_the_longest_time_goes_first(tmp_path, monkeypatch):
    size = keep("probe.npz", kept(), tmp_path).stat().st_size
    monkeypatch.setattr(kept_images, "MAX_BYTES", 3 * size)
    for age, name in ((30, "probe"), (20, "a"), (10, "b")):
        path = keep(f"{name}.npz", kept(), tmp_path)
        os.utime(path, (path.stat().st_atime - age, path.stat().st_mtime - age))
    assert find("probe.npz", tmp_path) is not None  # now the youngest
    keep("c.npz", kept(), tmp_path)
    assert {path.stem for path in (tmp_path / "search").iterdir()} == {"probe", "b", "c"}
    assert keep("huge.npz", kept(10**4), tmp_path) is None
    assert {path.stem for path in (tmp_path / "search").iterdir()} == {"probe", "b", "c"}


def test_a_second_search_imports_no_more_than_it_needs():
    heavy = "grain", "matplotlib", "tensorflow", "scipy.interpolate", "pyarrow"
    code = (
        "import sys, vlp.jobs.search, vlp.evals.draw, data_pipelines.evaluation; "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_a_sound_is_asked_alone_of_a_model_that_hears(run, pairs, tmp_path, capsys):
    sound = tmp_path / "one.ogg"
    command = ["search", f"--model={run}", f"--data={pairs}", f"--sound={sound}"]
    for more, said in (
        ([], f"--sound must be a file, {sound} is none"),
        (["a", "red", "bar"], "a search is by words or by --sound, got 'a red bar' beside"),
    ):
        assert main([*command, *more]) == 1 and said in capsys.readouterr().err
    sound.write_bytes(b"OggS")
    assert main(command) == 1 and "has no audio tower" in capsys.readouterr().err
