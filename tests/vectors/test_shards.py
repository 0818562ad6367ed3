"""Reading the shards of a folder of embeddings."""

import numpy as np
import pytest

from tests.vectors.making import fill, vectors
from vlp.vectors.shards import read_manifest, read_rows, read_vectors


def test_rows_are_found_by_their_id(tmp_path):
    fill(tmp_path / "e")
    rows = read_rows(tmp_path / "e", "images", [22, 4, 0])
    assert [row.id for row in rows] == [22, 4, 0]
    assert [row.key for row in rows] == ["k22", "k4", "k0"]
    np.testing.assert_array_equal(rows[1].embedding, vectors(0, 9)[3])  # sample 3 has no row
    (caption,) = read_rows(tmp_path / "e", "captions", [11])
    np.testing.assert_array_equal(caption.embedding, vectors(101, 20)[2])


def test_what_is_no_folder_of_embeddings_is_said_so(tmp_path):
    with pytest.raises(ValueError, match="must hold manifest.json, .* give the --out of"):
        read_manifest(tmp_path)
    for text in ("[]", "{", '{"format": 2}', "[" * 100_000):
        (tmp_path / "manifest.json").write_text(text)
        with pytest.raises(ValueError, match="manifest.json"):
            read_manifest(tmp_path)


@pytest.mark.parametrize("suffix", ["npy", "parquet"])
def test_reading_a_shard_that_is_gone_or_cut_says_what_to_do(tmp_path, suffix):
    fill(tmp_path / "e")
    path = tmp_path / "e" / "images" / f"00001.{suffix}"
    path.write_bytes(path.read_bytes()[:50])
    for _ in range(2):
        with pytest.raises(ValueError, match=r"00001.npy and .parquet must .* start the same vlp"):
            read_rows(tmp_path / "e", "images", [12])
        with pytest.raises(ValueError, match=r"00001.npy and .parquet must .* start the same vlp"):
            list(read_vectors(tmp_path / "e", "images"))
        path.unlink(missing_ok=True)
