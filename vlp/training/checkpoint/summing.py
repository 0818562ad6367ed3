"""What each process does once it has written its arrays: their checksums, before the commit."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import orbax.checkpoint as ocp
from etils import epath

from vlp.training.checkpoint import contents, manifest

# Bytes of an array that all devices hold: smaller ones are written by the first, for to cut them up
# takes longer than it saves.
_SHARED = 2**20


class Summing(ocp.CompositeCheckpointHandler):
    """Writes as orbax does; with several processes each also leaves the sums of what it wrote.

    Args:
        before_commit: called on every process when its arrays are written.
        **ways: of writing to where it lies, see `stores.ways_of`.
    """

    def __init__(self, before_commit: Callable[[], object], **ways: Any):
        options = ocp.CompositeOptions(**ways)
        slices = contents.handlers(least_slice=_SHARED // jax.device_count())
        super().__init__(composite_options=options, **slices)
        self._before_commit = before_commit

    async def async_save(self, directory: epath.Path, *args: Any, **kwargs: Any) -> list[Any]:
        """As orbax's, with something more to wait for."""
        written = await super().async_save(directory, *args, **kwargs)
        return [_Then(tuple(written or ()), lambda: self._sum(directory))]

    def _sum(self, directory: epath.Path) -> None:
        if jax.process_count() > 1:
            manifest.write_sums(directory, process=jax.process_index())
        self._before_commit()


@ocp.args.register_with_handler(Summing, for_save=True, for_restore=True)
class Parts(ocp.args.Composite):
    """What `Summing` is given to save: orbax finds a handler by the class of its arguments."""


@dataclasses.dataclass(frozen=True)
class _Then:
    """A future of orbax: several others, and then a function."""

    first: Sequence[Any]
    function: Callable[[], object]

    def result(self, timeout: float | None = None) -> None:
        for future in self.first:
            future.result(timeout=timeout)
        self.function()
