"""Pictures and captions once more, for what a model says of both together."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Int

from data_pipelines.threads import THREADS
from vlp.evals.rerank import reranked as ordered_anew
from vlp.evals.retrieval import Ranks
from vlp.jobs.evaluator import Evaluator
from vlp.jobs.gallery import Gallery
from vlp.jobs.reading import log_odds
from vlp.jobs.tasks import check_task
from vlp.sweeps.judged import View
from vlp.sweeps.pictures import by_rule


def check_model(view: View, task: str, **settings: Any) -> None:
    """Raises ValueError where the model cannot do a task of `vlp.jobs.tasks`."""
    check_task(task, model=view.opened.run.model, settings=settings)


def evaluator_of(view: View) -> Evaluator:
    """What reads pictures and texts together."""
    opened = view.opened
    return Evaluator.of(opened.run, opened.encoder, step=opened.run.step, dtype=opened.dtype)


def gallery_of(view: View, texts: Sequence[str], image_of_text: Int[np.ndarray, " m"]) -> Gallery:
    """The pictures that can be read, with some captions; they are decoded again when they are read.

    Args:
        view: of the set.
        texts: captions.
        image_of_text: row of the picture of each.
    """
    rows = view.pictures()
    return Gallery(
        source=view.set.pictures,
        preprocess=by_rule(view.opened.run.preprocess, view.rule),
        threads=THREADS,
        ids=rows.ids,
        zimg=np.asarray(rows.vectors),
        rejects={},
        texts=list(texts),
        ztxt=view.captions(texts),
        image_of_text=image_of_text,
        left_out={},
    )


def reranked(
    view: View,
    texts: Sequence[str],
    image_of_text: Int[np.ndarray, " m"],
    before: Ranks,
    *,
    k: int,
    by: str,
) -> Ranks:
    """The ranks after the model has read the best candidates, see `vlp.evals.rerank`."""
    gallery = gallery_of(view, texts, image_of_text)
    return ordered_anew(
        before,
        zimg=gallery.zimg,
        ztxt=gallery.ztxt,
        image_of_text=image_of_text,
        k=k,
        by=by,
        log_odds=partial(log_odds, evaluator_of(view), gallery),
    )
