"""Which pictures of a data set are nearest to a sentence or a sound, by a model or by embeddings on
disk."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data_pipelines.faults import PASSING, Reject
from data_pipelines.limits import Limits
from data_pipelines.opening import open_source
from data_pipelines.sources import Source
from data_pipelines.sources.fingerprints import same_data
from data_pipelines.text import clean_caption
from vlp.evals.search import nearest
from vlp.interop.load import load_run
from vlp.interop.loaded import Run, fingerprint
from vlp.interop.runs import RUN
from vlp.jobs.kept_images import Kept, find, keep, name_of
from vlp.jobs.progress import counting
from vlp.remote import Place


class Found(NamedTuple):
    """Samples of a source, best first, their cosines, and the folder for a drawing."""

    source: Source
    indices: list[int]
    scores: list[float]
    folder: Path


def with_model(
    model: str,
    query: str | Path,
    *,
    data: str | None,
    limits: Limits,
    top: int,
    threads: int,
    **given: Any,
) -> Found:
    """The nearest of all images of a data set, which are embedded unless they are kept.

    Args:
        model: as for `load_run`.
        query: a sentence, or the file of a sound.
        data: as for `open_source`; None for what the run reports on.
        limits: likewise.
        top: how many at most.
        threads: batches of images that are loaded at the same time.
        **given: further arguments of `load_run`.

    Raises:
        ValueError: the model or the data cannot be searched so, or the sound cannot be read.
    """
    run = load_run(model, **given)
    _check_towers(run, query)
    folder = run.folder if run.format == RUN else None
    source = open_source(data or _report_data(model, folder), limits=limits)
    here = folder if isinstance(folder, Path) else None  # in a store nothing is kept
    images = _embedded_images(run, source, threads, folder=here)
    rows, scores = nearest(images.zimg, _embedded_query(run, query), top=top)
    indices = [int(images.ids[row]) for row in rows]
    return Found(source, indices, scores.tolist(), here or Path())


def in_embeddings(
    folder: str,
    query: str | Path,
    *,
    data: str | None,
    max_pixels: int | None,
    top: int,
    **given: Any,
) -> Found:
    """The nearest images of a folder of embeddings.

    Args:
        folder: of `vlp embed ... --index`.
        query: a sentence, or the file of a sound.
        data: where the data lie now; None for where they were.
        max_pixels: of a picture; None for what it was.
        top: how many at most.
        **given: further arguments of `load_run`.

    Raises:
        ValueError: the model or the data are no longer those of the embeddings.
    """
    from vlp.vectors.index import search_index
    from vlp.vectors.shards import read_manifest

    manifest = read_manifest(folder)
    run = _embedder(manifest, given)
    source = _embedded(manifest, data, Limits(pixels=max_pixels or manifest["max_pixels"]))
    rows, scores = search_index(folder, _embedded_query(run, query), top=top)
    return Found(source, [row.id for row in rows], scores.tolist(), Path(folder))


def called(source: Source, index: int) -> str:
    """The first caption of a sample; its key where it has none."""
    try:
        return clean_caption(source.captions(index)[0])
    except Reject:
        return source.key(index)


def _embedded_images(run: Run, source: Source, threads: int, *, folder: Path | None) -> Kept:
    """The images as they were kept; otherwise embedded now, and kept."""
    name = name_of(
        model=fingerprint(run.model),
        preprocess=run.card["preprocess"],
        data=source.fingerprint,
    )
    kept = find(name, folder)
    if kept is not None:
        return kept
    from vlp.jobs.data_table import say_data
    from vlp.jobs.evaluator import Evaluator  # what embeds takes long to import

    say_data({"search": source})
    with counting("images", len(source)) as progress:
        evaluator = Evaluator.of_run(run, threads=threads, progress=progress)
        evaluator.sources[""] = source
        images = evaluator.images("")
    for note in images.notes():
        print(note)
    made = Kept(images.zimg, images.ids)
    passing = sum(count for reason, count in images.rejects.items() if reason in PASSING)
    place = None if passing else keep(name, made, folder)
    said = f"kept in {place}" if place else "not kept"
    if passing:
        said += f", for {passing:,} lie in files that another time may be read"
    print(f"embedded {len(made.ids):,} images, {said}")
    return made


def _embedded_query(run: Run, query: str | Path) -> np.ndarray:
    if isinstance(query, str):
        return np.asarray(run.model.encode_text(run.tokenize(query)).embedding[0])
    _check_towers(run, query)
    assert run.spectrogram is not None, "a card says how its model hears"
    try:
        heard = run.spectrogram(query.read_bytes())
    except Reject as error:
        raise ValueError(f"--sound={query} must be a sound that can be read: {error}") from error
    return np.asarray(run.model.encode("audio", heard).embedding[0])


def _check_towers(run: Run, query: str | Path) -> None:
    asked, what = ("text", "texts") if isinstance(query, str) else ("audio", "sounds")
    for lacking in {"image", asked} - run.model.towers.keys():
        raise ValueError(
            f"a search needs a model of images and {what}, {run.folder} has no {lacking} tower; "
            "give another --model"
        )
    if asked == "text":
        run.tokenize("")  # raises ValueError where there is no tokenizer


def _report_data(model: str, folder: Place | None) -> str:
    """The data that a run reports on; weights of other stacks, or imported, have none."""
    file = folder and folder / "config.json"
    if not file or not file.is_file():
        raise ValueError(f"{model} was not trained here on any data; say where to look: --data")
    config = json.loads(file.read_text(encoding="utf-8"))
    data = config["report"]["data"] or config["data"]["train"]
    if not data:
        raise ValueError(
            f"{model} reports on no data, and did not train on one set of pairs; say where to "
            "look: --data"
        )
    return data


def _embedder(manifest: dict[str, Any], given: dict[str, Any]) -> Run:
    """The model that embedded the data."""
    settings = manifest["model_settings"]
    for name in settings:
        if name in given:
            flag = "--" + name.replace("_", "-")
            raise ValueError(f"{flag} is as it was for vlp embed; leave it out")
    run = load_run(manifest["model_source"], **given | settings)
    if fingerprint(run.model) != manifest["model"]:
        raise ValueError(
            f"the model in {manifest['model_source']} must be the one that embedded the data, its "
            "weights are others now; embed the data again"
        )
    return run


def _embedded(manifest: dict[str, Any], data: str | None, limits: Limits) -> Source:
    """The data that was embedded."""
    try:
        source = open_source(data or manifest["data_source"], limits=limits)
    except ValueError as error:
        raise ValueError(f"{error}; if the data has moved, say where to by --data") from error
    if not same_data(manifest["data"], source.fingerprint):
        raise ValueError(
            f"--data must be what was embedded, {manifest['data_source']}; "
            f"{data or 'what is there now'} is something else"
        )
    return source
