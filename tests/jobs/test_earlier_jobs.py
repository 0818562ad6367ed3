"""A job that an earlier version began goes on with the same data."""

import pytest

from vlp.jobs.caption_file import CaptionFile
from vlp.jobs.embed_folder import EmbedFolder
from vlp.jobs.filter_folder import FilterFolder

OLDER, REST = "a" * 64, "+" + "b" * 64
SIZES = {"samples": 1, "shard_size": 1, "part_size": 1, "dtype": "float16"}


@pytest.mark.parametrize("store", [EmbedFolder, CaptionFile, FilterFolder])
def test_a_fingerprint_that_an_earlier_version_stored_is_of_the_same_data(tmp_path, store):
    store(tmp_path / "out", SIZES | {"data": OLDER}).claim()
    for same in (OLDER, OLDER + REST):
        store(tmp_path / "out", SIZES | {"data": same})
    for other in ("c" + OLDER[1:] + REST, OLDER[1:] + REST):
        with pytest.raises(ValueError, match="another data"):
            store(tmp_path / "out", SIZES | {"data": other})
