"""A part of a job is written only from what was read."""

import pytest

from data_pipelines.sources.base import check_read


@pytest.mark.parametrize("reason", ["shard gone", "shard changed", "read failed"])
def test_a_part_of_which_files_may_be_read_another_time_is_not_written(reason):
    with pytest.raises(ValueError, match=f"files of part 7 must be read, 2 samples .*{reason} 2"):
        check_read({reason: 2, "image damaged": 1}, "part 7")


def test_a_part_is_written_without_samples_that_stay_bad():
    check_read({"shard damaged": 3, "image damaged": 1}, "part 7")
