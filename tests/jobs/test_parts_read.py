"""A part of a job is written only from what was read."""

import pytest

from data_pipelines.opening import open_source
from data_pipelines.sources.part import PartSource
from vlp.jobs.job import check_read

PART = PartSource(open_source("synthetic:9@8x8"), 4, 8)


@pytest.mark.parametrize("reason", ["shard gone", "shard changed", "read failed"])
def test_a_part_of_which_files_may_be_read_another_time_is_not_written(reason):
    with pytest.raises(ValueError, match=rf"\[4:8\] must be read, 2 of its samples .*{reason} 2"):
        check_read({reason: 2, "image damaged": 1}, PART)


def test_a_part_is_written_without_samples_that_stay_bad():
    check_read({"shard damaged": 3, "image damaged": 1}, PART)
