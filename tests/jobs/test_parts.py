"""What embed, caption and filter have in common: outputs in parts, and the loop over them."""

import json

import jax
import pytest
from jax.experimental import multihost_utils

from vlp.jobs.caption_file import CaptionFile
from vlp.jobs.embed_folder import EmbedFolder
from vlp.jobs.filter_folder import FilterFolder
from vlp.jobs.job import Job, own_parts
from vlp.jobs.parts import LineParts

PROVENANCE = {"model": "m", "preprocess": {"size": 8}, "tokenizer": None, "data": "d", "samples": 7}
OWN = {
    EmbedFolder: {"shard_size": 3, "captions": "all", "dtype": "float32", "dim": 2},
    CaptionFile: {"part_size": 3, "method": "beam", "settings": {"num_beams": 3}, "seed": None},
    FilterFolder: {"captions": None, "threshold": 0.5, "part_size": 3},
}
STORES = pytest.mark.parametrize("store", OWN)


def files(folder) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@STORES
def test_nothing_is_written_before_an_output_is_claimed_and_then_its_manifest_is(store, tmp_path):
    out = store(tmp_path / "out", PROVENANCE | OWN[store])
    assert files(tmp_path) == []
    out.claim()
    (path,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    name = {EmbedFolder: "out/manifest.json", FilterFolder: "out/filter.json"}
    assert path == tmp_path / name.get(store, "out.manifest.json")
    first = {} if store is FilterFolder else {"format": 1}
    wanted = json.dumps(first | PROVENANCE | OWN[store], indent=2) + "\n"
    assert path.read_text() == wanted


@STORES
def test_every_field_that_decides_binds_an_output_to_its_job(store, tmp_path):
    manifest = PROVENANCE | OWN[store]
    store(tmp_path / "out", manifest).claim()
    before = files(tmp_path)
    for key in manifest:
        other = manifest | {key: 9 if isinstance(manifest[key], int) else "other"}
        with pytest.raises(ValueError, match=f"another {key}, .* give another --out"):
            store(tmp_path / "out", other)
    store(tmp_path / "out", manifest | {"model_source": "hf:moved"}).claim()
    assert files(tmp_path) == before


@STORES
@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000])
def test_a_manifest_that_is_none_is_refused_with_its_name(store, tmp_path, text):
    out = store(tmp_path / "out", PROVENANCE | OWN[store])
    out.claim()
    out.manifest_path.write_text(text)
    with pytest.raises(ValueError, match=f"{out.manifest_path.name} must .* give another --out"):
        store(tmp_path / "out", PROVENANCE | OWN[store])


@STORES
@pytest.mark.parametrize("samples", [1, 3, 7])
def test_the_parts_are_of_every_sample_once(store, tmp_path, samples):
    out = store(tmp_path / "out", PROVENANCE | OWN[store] | {"samples": samples})
    ranges = [range(*out.samples(part)) for part in range(len(out))]
    assert [index for part in ranges for index in part] == list(range(samples))
    assert all(0 < len(part) <= 3 for part in ranges)


@STORES
def test_an_output_with_parts_that_are_not_seen_is_not_finished(store, tmp_path):
    out = store(tmp_path / "out", PROVENANCE | OWN[store])
    out.claim()
    before = files(tmp_path)
    said = "must be a folder that all processes share, .* 3 of 3 parts; give one on a shared disk"
    with pytest.raises(ValueError, match=said):
        out.finish()
    assert files(tmp_path) == before


class Numbers(LineParts):
    """The numbers of the samples."""

    holds = "has numbers of"

    def __init__(self, folder):
        super().__init__(
            folder,
            {"samples": 7, "part_size": 3},
            manifest_path=folder / "manifest.json",
            data_table=folder / "data.json",
            parts=folder / "parts",
            joined=folder / "numbers.jsonl",
        )

    def is_done(self, part):
        return self.joined.is_file() or self.part(part).is_file()


class Counting(Job[Numbers]):
    """Writes the numbers; says which parts it was asked for."""

    def __init__(self):
        pass  # needs neither model nor data

    def write_part(self, out, part, *, progress):
        calls.append(part)
        first, stop = out.samples(part)
        out.part(part).write_text("".join(f'{{"n": {n}}}\n' for n in range(first, stop)))
        progress(stop - first)


calls: list[int] = []


@pytest.fixture
def out(tmp_path):
    calls.clear()
    numbers = Numbers(tmp_path / "numbers")
    numbers.claim()
    return numbers


def test_a_job_writes_what_is_not_there_and_joins_it_all(out, tmp_path):
    out.part(1).write_text("".join(f'{{"n": {n}}}\n' for n in (3, 4, 5)))
    job = Counting()
    job.write(out)
    assert calls == [0, 2] and [row["n"] for row in out.rows()] == list(range(7))
    assert files(tmp_path / "numbers") == ["manifest.json", "numbers.jsonl"]
    out.claim()
    job.write(out)
    assert calls == [0, 2] and files(tmp_path / "numbers") == ["manifest.json", "numbers.jsonl"]


def test_a_stopped_job_keeps_its_parts_and_joins_nothing(out, monkeypatch):
    job, write = Counting(), Counting.write_part

    def stopping(self, out, part, *, progress):
        if part == 2:
            raise KeyboardInterrupt
        write(self, out, part, progress=progress)

    monkeypatch.setattr(Counting, "write_part", stopping)
    with pytest.raises(KeyboardInterrupt):
        job.write(out)
    assert not out.joined.exists() and [out.is_done(part) for part in range(3)] == [1, 1, 0]
    monkeypatch.undo()
    job.write(out)
    assert calls == [0, 1, 2] and [row["n"] for row in out.rows()] == list(range(7))


def test_the_bar_counts_the_samples_of_all_parts(out, monkeypatch):
    from vlp.jobs import job as jobs

    shown = []

    class Bar:
        def __enter__(self):
            return shown.append

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(jobs, "counting", lambda what, total: shown.append((what, total)) or Bar())
    Counting().write(out)
    assert shown == [("samples", 7), 3, 3, 6, 6, 7, 7]


def test_what_is_not_done_is_shared_evenly_by_the_processes(monkeypatch):
    monkeypatch.setattr(multihost_utils, "broadcast_one_to_all", lambda missing: missing)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    own = []
    for index in (0, 1):
        monkeypatch.setattr(jax, "process_index", lambda index=index: index)
        own.append(own_parts([True, False, False, True, False, True]))
    assert own == [[0, 5], [3]]
