"""What is used of training data: the samples of a list, and the kinds of their captions."""

from collections.abc import Mapping

from data_pipelines.limits import Limits
from data_pipelines.opening import open_source
from data_pipelines.sources import Source
from data_pipelines.sources.caption_kinds import CaptionKinds
from data_pipelines.sources.subset import SubsetSource


def open_chosen(
    data: str, *, subset: str = "", captions: Mapping[str, float] | None = None, limits: Limits
) -> Source:
    """The samples of data that are used.

    Args:
        data: see `data_pipelines.opening`.
        subset: a file that lists them, see `SubsetSource`; all where it is "".
        captions: the weight of each kind, see `CaptionKinds`; the samples' own where there is none.
        limits: how large the parts of a sample may be.

    Raises:
        ValueError: something is wrong with one of them.
    """
    source = open_source(data, limits=limits)
    if subset:
        source = SubsetSource(source, subset)
    return CaptionKinds(source, captions) if captions else source
