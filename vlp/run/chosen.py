"""What is used of training data: samples of a list, kinds of captions, labels as captions."""

from collections.abc import Mapping

from data_pipelines.limits import Limits
from data_pipelines.opening import open_source
from data_pipelines.sources import LabelSource, Source
from data_pipelines.sources.caption_kinds import CaptionKinds
from data_pipelines.sources.subset import SubsetSource
from vlp.evals.classes import read_classes
from vlp.evals.prompts import templates


def open_chosen(
    data: str,
    *,
    subset: str = "",
    captions: Mapping[str, float] | None = None,
    label: str | None = None,
    label_templates: str = "clip7",
    label_classes: str = "",
    limits: Limits,
) -> Source:
    """The samples of data that are used, with the captions that are.

    Args:
        data: see `data_pipelines.opening`.
        subset: a file that lists them, see `SubsetSource`; all where it is "".
        captions: the weight of each kind, see `CaptionKinds`; the samples' own where there is none.
        label: the field with the labels that captions are made of, see `LabelSource`; None for
            samples with captions.
        label_templates: a set of `vlp.evals.prompts`, or a file with one a line.
        label_classes: a file that names the classes, see `vlp.evals.classes.read_classes`; labels
            that are numbers need it.
        limits: how large the parts of a sample may be.

    Raises:
        ValueError: something is wrong with one of them.
    """
    if captions and label is not None:
        raise ValueError(
            f"captions are made of labels or drawn from kinds, got label={label!r} and "
            f"captions={dict(captions)}; leave one out"
        )
    source = open_source(data, limits=limits)
    if subset:
        source = SubsetSource(source, subset)
    if label is not None:
        classes = read_classes(label_classes) if label_classes else None
        return LabelSource(
            source, field=label, templates=templates(label_templates), classes=classes
        )
    return CaptionKinds(source, captions) if captions else source
