"""One state of the data for a run, whose processes each have a loader."""

from collections.abc import Mapping
from typing import Any

from data_pipelines.assemble import Batch
from data_pipelines.loader import joined_state
from vlp.parallel.together import of_all


class OneState:
    """A loader's batches, and as their state that of the loaders of all processes as one.

    Args:
        loader: this process's.
    """

    def __init__(self, loader: Any):
        self._loader = loader

    def __next__(self) -> Batch:
        return next(self._loader)

    def get_state(self) -> dict[str, Any]:
        """The loaders' state, the same on all processes, which must ask at the same time."""
        return joined_state(of_all(self._loader.get_state()))

    def metrics(self) -> Mapping[str, float]:
        """The loader's."""
        return self._loader.metrics()
