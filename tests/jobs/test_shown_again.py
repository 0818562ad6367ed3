"""The second look at pictures that were embedded: the same ones, or none."""

import numpy as np
import pytest

from data_pipelines.faults import Reject
from data_pipelines.images import ImagePreprocess
from data_pipelines.opening import open_source
from data_pipelines.sources.within import Within
from vlp.evals.embed import Encoder
from vlp.jobs.shown_again import shown_again


class Failing(Within):
    """Pictures of which one cannot be read."""

    name, fingerprint = "failing", "failing"

    def __init__(self, source, *, at):
        self.source, self.limits, self.at = source, source.limits, at

    def image(self, index):
        if index == self.at:
            raise Reject("read failed")
        return super().image(index)


def weights(source, ids):
    encoder = Encoder(graphdef=None, params={}, mesh=None)
    how = dict(encoder=encoder, rows=2, threads=1)
    batches = shown_again(source, ImagePreprocess(8), ids=np.asarray(ids), **how)
    return np.concatenate([batch["weight"] for batch in batches]).tolist()


def test_a_picture_that_could_not_be_embedded_has_no_row_although_it_is_read_now():
    assert weights(open_source("synthetic:4@8x8"), [0, 2, 3]) == [1, 0, 1, 1]


def test_a_picture_that_was_embedded_and_cannot_be_read_any_more_ends_the_look():
    source = Failing(open_source("synthetic:4@8x8"), at=2)
    assert weights(source, [0, 1, 3]) == [1, 1, 0, 1]
    with pytest.raises(ValueError, match=r"sample 2 .* cannot; put its file back"):
        weights(source, [0, 2])
