"""Stored vectors of a run's data (`vlp embed`): of which samples and augmentations they are."""

import dataclasses
from collections.abc import Collection, Iterator
from typing import Any

from ml_collections import ConfigDict

from data_pipelines.augmentation import augmentation, photo_augmentation
from data_pipelines.fields import Embedded, Pictures
from data_pipelines.images import open_preprocess
from data_pipelines.naflex import NaflexPreprocess
from data_pipelines.naflex_field import NaflexPictures
from data_pipelines.sources import ConcatSource, Source
from data_pipelines.sources.fingerprints import same_data
from data_pipelines.sources.join import OnlySource
from vlp.run.naflex import is_naflex
from vlp.run.values import plain
from vlp.vectors.stored import StoredVectors


@dataclasses.dataclass(frozen=True)
class Stored:
    """A folder of embeddings, beside the data of a run.

    Attributes:
        vectors: of the folder.
        embedded: what they are of.
    """

    vectors: StoredVectors
    embedded: Embedded


def stored_vectors(
    config: ConfigDict, names: Collection[str], *, source: Source | None
) -> dict[str, Stored]:
    """The folders of `config.data.vectors`, by name.

    Args:
        config: of the whole run.
        names: fields that the objective reads.
        source: the data of the run; None where only shapes are asked for.

    Raises:
        ValueError: a folder is not finished, of other data or of other augmentations, or nothing
            reads it; names it.
    """
    found = {}
    for name, folder in config.data.vectors.items():
        try:
            if not any(field.startswith(f"{name}/") for field in names):
                raise ValueError(
                    f"objective {config.objective.name} reads none of them, such as "
                    f"{name}/image_embedding; leave it out"
                )
            vectors = StoredVectors(folder)
            _check_views(config, vectors)
            found[name] = Stored(vectors, _embedded(vectors, source))
        except ValueError as error:
            raise ValueError(f"config.data.vectors.{name}: {error}") from error
    augmented = {each.embedded for each in found.values() if each.embedded.views}
    if len(augmented) > 1:
        raise ValueError(
            "config.data.vectors must be of the same augmentations, for a picture has one at a "
            f"time, got {' and '.join(map(str, sorted(augmented)))}; embed with one --views and "
            "one config"
        )
    return found


def pictures(config: ConfigDict, *, embedded: Embedded | None = None) -> Pictures | NaflexPictures:
    """How training augments images.

    Args:
        config: of the whole run.
        embedded: whose augmentations are repeated; of pictures of one size alone.
    """
    cut = open_preprocess(config.preprocess.to_dict())
    if isinstance(cut, NaflexPreprocess):
        return NaflexPictures(_augment(config), cut)
    return Pictures(_augment(config), size=config.preprocess.size, embedded=embedded)


def views_of(config: ConfigDict, *, count: int) -> dict[str, Any]:
    """What a folder of embeddings says of its augmentations, as JSON values.

    Args:
        config: of the training that they are of.
        count: of them for each image.
    """
    return {"count": count, "seed": config.seed, "augment": _settings(config)}


def _augment(config: ConfigDict) -> Any:
    pixels = config.preprocess
    own = {"background": tuple(pixels.background)} | config.augment.to_dict()
    if is_naflex(config):
        return photo_augmentation(**{"interpolation": pixels.interpolation} | own)
    return augmentation(pixels.size, **own)


def _settings(config: ConfigDict) -> dict[str, Any]:
    """All settings of the augmentation, the usual ones included."""
    return plain(dataclasses.asdict(_augment(config)))


def _check_views(config: ConfigDict, vectors: StoredVectors) -> None:
    views, here = vectors.manifest.get("views"), _settings(config)
    if views is None or views["augment"] == here:
        return
    there = views["augment"]
    other = ", ".join(
        f"{name}: {there.get(name)!r} there, {value!r} here"
        for name, value in sorted(here.items())
        if there.get(name) != value
    )
    raise ValueError(
        f"its images were augmented otherwise than here ({other}); set config.augment to what is "
        "there, or embed them by vlp embed --views with this config"
    )


def _embedded(vectors: StoredVectors, source: Source | None) -> Embedded:
    manifest = vectors.manifest
    views = manifest.get("views") or {"count": 0, "seed": 0}
    own = dict(views=views["count"], seed=views["seed"])
    if source is None:
        return Embedded(0, manifest["samples"], **own)
    for first, part in _stretches(source, 0):
        if same_data(manifest["data"], part.fingerprint):
            return Embedded(first, first + len(part), **own)
    raise ValueError(
        f"its vectors must be of the data that are trained on, {vectors.folder} is of "
        f"{manifest['data_source']!r}; embed those data"
    )


def _stretches(source: Source, first: int) -> Iterator[tuple[int, Source]]:
    """A source and those that are whole stretches of it, each with the index of its first."""
    yield first, source
    if isinstance(source, OnlySource):
        yield from _stretches(source.source, first)
    for part in source.sources if isinstance(source, ConcatSource) else ():
        yield from _stretches(part, first)
        first += len(part)
