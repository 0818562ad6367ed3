"""Captions that a model writes beside those that pictures have."""

from typing import Any

import numpy as np

from vlp.evals.captioning import measures
from vlp.jobs.reading import beam_search, written_captions
from vlp.jobs.tasks import check_settings
from vlp.sweeps.judged import Judged, View
from vlp.sweeps.tasks.reading import check_model, evaluator_of, gallery_of
from vlp.sweeps.tasks.retrieval import captions_of


def check_captioning(**settings: Any) -> None:
    """Raises ValueError for settings that are none, and where the scores are not installed."""
    check_settings("captioning", settings)


def captioning(
    view: View,
    *,
    num_beams: int = 3,
    length_penalty: float = 1.0,
    min_length: int = 0,
    prompt: str = "",
) -> Judged:
    """CIDEr and BLEU-4 of one caption for each picture that has some.

    Args:
        view: of a set with captions.
        num_beams, length_penalty, min_length: of the beam search.
        prompt: what captions begin with.

    Raises:
        ValueError: the set has no captions, the model writes none, or the scores are not installed.

    References:
        Vedantam et al., 2015 (CIDEr); Papineni et al., 2002 (BLEU); see `vlp.evals.captioning`.
    """
    how: Any = dict(
        num_beams=num_beams, length_penalty=length_penalty, min_length=min_length, prompt=prompt
    )
    check_model(view, "captioning", **how)
    pictures = view.pictures()
    evaluator = evaluator_of(view)
    gallery = gallery_of(view, *captions_of(view, pictures))
    written, truths, rows = written_captions(evaluator, gallery, beam_search(evaluator, **how))
    counts = {"pictures": len(rows), "without_caption": len(pictures.ids) - len(rows)}
    said = {"written": np.asarray(written), "first": np.asarray([own[0] for own in truths])}
    ids = pictures.ids[rows]
    return Judged(measures(written, truths), len(rows), ids, said, counts, pictures.notes)
