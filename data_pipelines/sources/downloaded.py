"""The rows of img2dataset's parquet that it could download: the others have no picture."""

import logging
from typing import Any

import numpy as np
import pyarrow.compute as pc

from data_pipelines.sources.base import Source
from data_pipelines.sources.kept import KeptSource
from data_pipelines.sources.parquet import ParquetSource
from data_pipelines.sources.survey import Stray, Survey

_LOG = logging.getLogger(__name__)
_STATUS, _SUCCESS, _ERROR = "status", "success", "error_message"


class Downloaded(KeptSource):
    """The rows that img2dataset says it downloaded.

    Its tars have no others, and so many are missing from the web that a run would stop at its share
    of bad samples.

    Args:
      source: all rows.
    """

    def __init__(self, source: ParquetSource) -> None:
        super().__init__(
            source, name=source.name, rule="downloaded", rows=lambda: _successes(source)
        )
        count, _ = self.left_out()
        _LOG.info("%s: %d rows were not downloaded and are left out", self.name, count)

    def survey(self) -> tuple[Survey, ...]:
        """The rows that are used, and how many were not downloaded."""
        (whole,) = self.source.survey()
        count, example = self.left_out()
        missing = Stray("not downloaded, as img2dataset says", count, example)
        known: Any = dict(strays=(*whole.strays, missing))
        if whole.without_image is not None:
            known |= dict(without_image=max(0, whole.without_image - count))
        return (Survey(self.name, len(self), **known),)


def downloaded(source: ParquetSource) -> Source:
    """The source itself, or its rows that were downloaded where img2dataset says of some."""
    (survey,) = source.survey()
    if not {_STATUS, _ERROR} <= {*source.columns.fields} or survey.without_image == 0:
        return source
    found = Downloaded(source)
    return found if 0 < len(found) < len(source) else source


def _successes(source: ParquetSource) -> np.ndarray:
    """Places of the rows whose status is success, or cannot be read, int64 `[n]`."""
    found, start = [np.empty(0, np.int64)], 0
    for rows, statuses in source.column(_STATUS):
        good = np.ones(rows, bool)
        if statuses is not None:
            good = pc.fill_null(pc.equal(statuses, _SUCCESS), False).to_numpy()
        found.append(start + np.flatnonzero(good))
        start += rows
    return np.concatenate(found)
