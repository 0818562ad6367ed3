"""The index: every image once, the nearest first with exact cosines."""

import shutil
import sys

import numpy as np
import pytest

from tests.vectors.making import DIM, MANIFEST, columns, fill, vectors
from vlp.jobs.embed_folder import EmbedFolder
from vlp.vectors.index import FILE, build_index, check_usearch, search_index
from vlp.vectors.shards import read_vectors

pytest.importorskip("usearch")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Embeddings with their index."""
    made = tmp_path_factory.mktemp("vectors") / "e"
    fill(made)
    build_index(made)
    return made


def everything(folder) -> tuple[np.ndarray, np.ndarray]:
    ids, rows = zip(*read_vectors(folder, "images"), strict=True)
    return np.concatenate(ids), np.concatenate(rows)


def test_it_holds_every_image_once(folder):
    from usearch.index import Index

    index = Index.restore(str(folder / FILE))
    assert len(index) == 21 and sorted(index.keys) == everything(folder)[0].tolist()
    build_index(folder)  # a second time replaces the first
    assert len(Index.restore(str(folder / FILE))) == 21
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize("top", [1, 5, 100])
def test_it_finds_what_looking_at_all_of_them_finds(folder, top):
    ids, rows = everything(folder)
    for query in vectors(7, 20):
        cosines = rows @ query
        best = np.argsort(-cosines, kind="stable")[:top]
        found, scores = search_index(folder, query, top=top)
        assert [row.id for row in found] == ids[best].tolist()
        np.testing.assert_allclose(scores, cosines[best], atol=1e-6)
        assert [row.key for row in found] == [f"k{i}" for i in ids[best]]


def test_of_equal_images_the_first_comes_first(tmp_path):
    shards = EmbedFolder(tmp_path / "e", MANIFEST)
    shards.claim()
    images = columns(range(10), 0)
    images["embedding"][:] = images["embedding"][0]
    shards.write(0, images=images, captions=columns([], 0), rejected=0, left_out=0)
    build_index(tmp_path / "e")
    found, _ = search_index(tmp_path / "e", vectors(3, 1)[0], top=4)
    assert [row.id for row in found] == [0, 1, 2, 3]


def test_without_any_image_nothing_is_found(tmp_path):
    shards = EmbedFolder(tmp_path / "e", MANIFEST)
    shards.claim()
    shards.write(0, images=columns([], 0), captions=columns([], 0), rejected=10, left_out=0)
    build_index(tmp_path / "e")
    found, scores = search_index(tmp_path / "e", vectors(3, 1)[0], top=4)
    assert found == [] and scores.shape == (0,)


def test_a_missing_or_damaged_index_is_said_so(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "e")
    path = tmp_path / "e" / FILE
    data = path.read_bytes()
    for damaged in (b"", data[:100], data[: len(data) // 2], b"x" * len(data)):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="damaged .* --index once more"):
            search_index(tmp_path / "e", np.ones(DIM, np.float32), top=1)
    path.unlink()
    with pytest.raises(ValueError, match="must be there, it is not; run vlp embed ... --index"):
        search_index(tmp_path / "e", np.ones(DIM, np.float32), top=1)


def test_without_usearch_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "usearch", None)
    with pytest.raises(ValueError, match=r"pip install 'vlp\[index\]'"):
        check_usearch()
