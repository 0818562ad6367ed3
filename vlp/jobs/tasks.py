"""The tasks on which a model is judged: from an embedded data set to scores."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from data_pipelines.evaluation import check_which
from vlp.evals import captioning as captions_of
from vlp.evals import masked_words as words_of
from vlp.evals import matching as matches_of
from vlp.evals import prompts
from vlp.evals.classes import find_classes
from vlp.evals.classification import check_prompts, class_embeddings, classification
from vlp.evals.pairs import another, read_pairs
from vlp.evals.rerank import check_rerank, reranked
from vlp.evals.results import PARTS, make_result
from vlp.evals.retrieval import both_ranks, recalls
from vlp.generation import Method, check_beams
from vlp.jobs.between import USUAL, both_rows, check_between
from vlp.jobs.data_checks import check_data
from vlp.jobs.evaluator import BATCH, Evaluator
from vlp.jobs.gallery import Gallery, Images
from vlp.jobs.labels import read_labels
from vlp.jobs.reading import beam_search, log_odds, mined_odds, written_captions
from vlp.models.protocols import Matches, PredictsTokens, WritesCaptions, offers
from vlp.version import versions

__all__ = ["TASKS", "Task", "check_data", "check_settings", "check_task", "evaluate"]
Scores = Mapping[str, Any]


class Task(NamedTuple):
    """A way of judging.

    Attributes:
        run: from the evaluator and the data's name to scores and images; its keyword arguments are
            the settings of the task.
        capability: what the model must offer beyond both encoders; None for nothing.
        does: what that is, in words.
    """

    run: Callable[..., tuple[Scores, Images]]
    capability: type | None = None
    does: str = ""


def check_settings(task: str, settings: Mapping[str, Any]) -> None:
    """Refuses a task that nobody knows, settings it does not have, and scores not installed.

    Raises:
        ValueError: says which there are, or what a setting may be.
    """
    if task not in TASKS:
        raise ValueError(f"task must be one of {', '.join(TASKS)}, got {task!r}")
    known = list(inspect.signature(TASKS[task].run).parameters)[2:]
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise ValueError(
            f"a setting of task {task} must be one of {', '.join(known)}, got {unknown[0]!r}"
        )
    if task == "masked_words" and "mask_id" not in settings:
        raise ValueError(
            "task masked_words needs mask_id, the token that hides others, as the objective of the "
            "run was given it (config.objective.mask_id); 103 for BERT's own vocabulary"
        )
    check_which(settings.get("captions", "first"))
    check_between(settings.get("between", USUAL))
    if settings.get("rerank") and settings.get("between", USUAL) != USUAL:
        raise ValueError(f"rerank is of {USUAL} alone, got between {settings['between']}")
    if settings.get("rerank"):
        check_rerank(settings["rerank"], by=settings.get("rerank_by", "match"))
    elif "rerank_by" in settings:
        raise ValueError("rerank_by needs rerank, how many to order anew, got none; try rerank 16")
    if task == "captioning":
        check_beams(
            settings.get("num_beams", 3), length_penalty=settings.get("length_penalty", 1.0)
        )
        captions_of.check_scores()


def check_task(task: str, *, model: Any, settings: Mapping[str, Any]) -> None:
    """Refuses what cannot be judged.

    Raises:
        ValueError: see `check_settings`, or the model cannot do it.
    """
    check_settings(task, settings)
    if task == "retrieval":
        check_between(settings.get("between", USUAL), model=model)
    if task == "retrieval" and settings.get("rerank"):
        _check_offers(model, TASKS["matching"], "rerank")
    elif TASKS[task].capability is not None:
        _check_offers(model, TASKS[task], f"task {task}")
    if task == "masked_words":
        _check_mask(settings["mask_id"], vocab_size=model.text.vocab_size)
    if task == "captioning":
        Method.of("beam", **{k: v for k, v in settings.items() if k != "prompt"}).check(model)


def _check_offers(model: Any, like: Task, what: str) -> None:
    if like.capability is not None and not offers(model, like.capability):
        raise ValueError(
            f"{what} needs a model that {like.does}, and this one does not; "
            "judge another model, or this one by the tasks retrieval and classification"
        )


def _check_mask(mask_id: int, *, vocab_size: int) -> None:
    if not 0 <= mask_id < vocab_size:
        raise ValueError(
            f"mask_id must be an id of the model's {vocab_size} tokens, got {mask_id}; see "
            "config.objective.mask_id of its run"
        )


def _retrieval(
    evaluator: Evaluator,
    data: str,
    *,
    captions: str = "first",
    group: str = "",
    between: str = USUAL,
    rerank: int = 0,
    rerank_by: str = "match",
) -> tuple[Scores, Images]:
    # Before hours of embedding.
    labels = read_labels(evaluator.source(data), group) if group else []
    rows, queries, row_of_query, pair = both_rows(
        evaluator, data, between=between, captions=captions
    )
    groups = [labels[i] or "" for i in rows.ids] if group else None
    common: Any = dict(image_of_text=row_of_query, images=len(rows.ids), groups=groups)
    before = both_ranks(rows.zimg, queries, row_of_query)
    scores: dict[str, Any] = {
        **recalls(before, **common, between=pair),
        "notes": _without(group, labels),
    }
    if not rerank:
        return scores, rows
    gallery = evaluator.gallery(data, captions=captions)
    after = reranked(
        before,
        zimg=gallery.zimg,
        ztxt=gallery.ztxt,
        image_of_text=gallery.image_of_text,
        k=rerank,
        by=rerank_by,
        log_odds=partial(log_odds, evaluator, gallery),
    )
    anew = recalls(after, **common)
    for part in PARTS:
        scores[part] |= {f"reranked/{key}": value for key, value in anew[part].items()}
    return scores, gallery


def _classification(
    evaluator: Evaluator,
    data: str,
    *,
    label: str = "cls",
    templates: str = "simple",
    classes: str = "",
) -> tuple[Scores, Images]:
    labels = read_labels(evaluator.source(data), label)
    candidates = find_classes(labels, classes)
    if len(candidates.names) < 2:
        raise ValueError(
            f"classification needs at least two classes, {data} has only {candidates.names[0]!r} "
            f"in {label!r}; name them all by classes (--classes=FILE)"
        )

    ids: list[np.ndarray] = []  # tokenized once, to be looked at and to be embedded

    def tokens(texts: list[str]) -> np.ndarray:
        ids.append(evaluator.tokens(texts))
        return ids[-1]

    def embed(texts: list[str]) -> np.ndarray:
        return evaluator.encoder.embed_tokens(ids[0], batch_size=BATCH)

    said = check_prompts(candidates.names, prompts.templates(templates), tokens)
    zclass = class_embeddings(candidates.names, prompts.templates(templates), embed)
    images = evaluator.images(data)
    own = [(row, candidates.place.get(labels[i] or "")) for row, i in enumerate(images.ids)]
    labelled = [(row, place) for row, place in own if place is not None]
    rows, places = np.asarray(labelled, int).reshape(-1, 2).T
    scores = classification(images.zimg[rows], zclass, places)
    scores["counts"]["unlabelled"] = sum(name is None for name in labels)
    return {**scores, "notes": [*candidates.notes, *said, *_without(label, labels)]}, images


def _without(field: str, labels: list[str | None]) -> list[str]:
    """What to say of samples without a label."""
    missing = sum(name is None for name in labels)
    return [f"{missing:,} samples have no {field!r}"] if missing else []


def _matching(
    evaluator: Evaluator, data: str, *, captions: str = "first"
) -> tuple[Scores, Gallery]:
    gallery = evaluator.gallery(data, captions=captions)
    odds, pairs = mined_odds(evaluator, gallery)
    return matches_of.matching(odds, pairs.kind), gallery


def _masked_words(
    evaluator: Evaluator, data: str, *, mask_id: int, captions: str = "first"
) -> tuple[Scores, Gallery]:
    gallery = evaluator.gallery(data, captions=captions)
    tower = evaluator.encoder.model().text
    text, owners = evaluator.tokens(gallery.texts), gallery.image_of_text
    shown, hidden = words_of.hide_words(
        text, samples=gallery.ids[owners], mask_id=mask_id, pad_id=tower.pad_id
    )
    said = [
        read_pairs(
            evaluator.encoder,
            gallery.batches(evaluator.encoder),
            function=words_of.guess,
            images=images,
            texts=(shown, text),
        )
        for images in (owners, another(len(gallery.ids))[owners])
    ]
    scores = words_of.masked_words(*said, hidden=hidden, vocab_size=tower.vocab_size)
    return scores, gallery


def _captioning(
    evaluator: Evaluator,
    data: str,
    *,
    num_beams: int = 3,
    length_penalty: float = 1.0,
    min_length: int = 0,
    prompt: str = "",
) -> tuple[Scores, Gallery]:
    method = beam_search(
        evaluator,
        num_beams=num_beams,
        length_penalty=length_penalty,
        min_length=min_length,
        prompt=prompt,
    )
    gallery = evaluator.gallery(data, captions="all")
    written, truths, rows = written_captions(evaluator, gallery, method)
    scores = captions_of.captioning(written, truths)
    shown = captions_of.examples(written, truths, samples=gallery.ids[rows])
    return {**scores, "examples": shown}, gallery


TASKS: dict[str, Task] = {
    "retrieval": Task(_retrieval),
    "classification": Task(_classification),
    "matching": Task(_matching, Matches, "tells whether image and text belong together"),
    "masked_words": Task(_masked_words, PredictsTokens, "tells hidden words"),
    "captioning": Task(_captioning, WritesCaptions, "writes captions"),
}


def evaluate(evaluator: Evaluator, task: str, *, data: str, **settings: Any) -> dict[str, Any]:
    """The result of one task on one data set, see `vlp.evals.results.make_result`.

    Args:
        evaluator: the encoder.
        task: "retrieval" (settings: `captions` "first" or "all"; `group`, a metadata field
            whose values are reported on their own; `between`, two of the model's modalities,
            such as "audio-text"; `rerank`, how many of the dual encoder's
            best candidates are ordered anew by the model's match, 0 for none, `rerank_by`
            "match" or "match_and_cosine"); "classification" (`label`, the metadata field that
            is the class, `cls` unless given, `templates`, a name or a file, and `classes`, a
            file that names them all); "matching" (`captions`);
            "masked_words" (`mask_id`, `captions`); "captioning" (`num_beams`,
            `length_penalty`, `min_length`, `prompt`).
        data: tars, a folder, or `emoji:NAME`.

    Raises:
        ValueError: when there is no such task or setting, or the model cannot do it.
    """
    check_task(task, model=evaluator.encoder.model(), settings=settings)
    scores, images = TASKS[task].run(evaluator, data, **settings)
    return make_result(
        task,
        {**scores, "counts": scores["counts"] | images.counts()},
        data=images.source.name,
        fingerprint=images.source.fingerprint,
        samples=len(images.ids),
        rejected=images.counts()["rejected"],
        step=evaluator.step,
        dtype=evaluator.dtype,
        versions=versions(),
        settings=settings,
        notes=[*scores.get("notes", ()), *images.notes()],
    )
