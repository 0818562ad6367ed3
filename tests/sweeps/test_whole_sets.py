"""Scores of a part of a set are refused where files were not read, not where pictures are bad."""

import numpy as np
import pytest

from data_pipelines.faults import REASONS
from vlp.evals.embed import Embeddings
from vlp.sweeps.embedding import check_whole


def found(**counts):
    codes = {1 + REASONS.index(reason.replace("_", " ")): n for reason, n in counts.items()}
    return Embeddings(np.zeros((1, 2), np.float32), np.zeros(1, np.int64), codes)


def test_a_store_that_failed_in_the_middle_leaves_no_scores():
    with pytest.raises(ValueError, match="5 pictures lie in files .*read failed 3, shard gone 2"):
        check_whole("birds", found(read_failed=3, shard_gone=2, image_damaged=4))


def test_bad_pictures_cost_themselves_alone():
    check_whole("birds", found(image_damaged=4, image_truncated=1))
