"""The fields of a run's batches: the objective names them, and this says what each is made of.

One declaration for both sides: the loader makes its rows by these fields, and the step is traced
and lowered with their shapes.
"""

from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from data_pipelines.audio import Spectrogram
from data_pipelines.fields import CaptionVectors, Field, ImageVectors, Labels, Sounds
from data_pipelines.sound_augment import SoundAugment
from data_pipelines.sources import Source
from data_pipelines.text import Tokenizer
from vlp.models.naflex import NaflexImages
from vlp.run.captions import texts
from vlp.run.vectors import pictures, stored_vectors

PRESENT = "present/"
# What every batch has beside its fields: shape and type of a row on the device.
_ALWAYS: dict[str, tuple[tuple[int, ...], Any]] = {
    "weight": ((), np.float32),
    "id": ((2,), np.int32),
}


def host_fields(
    config: ConfigDict,
    names: Collection[str],
    *,
    tokenizer: Tokenizer | None = None,
    source: Source | None = None,
) -> dict[str, Field]:
    """How the host makes the fields that an objective names, those first that cost least.

    Args:
        config: of the whole run.
        names: of `vlp.objectives.Objective.fields`.
        tokenizer: of the run; None where only shapes are asked for.
        source: the data of the run, likewise.

    Raises:
        ValueError: an unknown name, or settings that make no such field.
    """
    stored = stored_vectors(config, names, source=source)
    views = [each.embedded for each in stored.values() if each.embedded.views]
    first = config.data.caption_first_probability
    known: dict[str, Callable[[], Field]] = {}
    for name, each in stored.items():
        how: Any = dict(dim=each.vectors.dim, embedded=each.embedded)
        known |= {
            f"{name}/image_embedding": partial(ImageVectors, each.vectors.image, **how),
            f"{name}/text_embedding": partial(
                CaptionVectors, each.vectors.caption, **how, first_probability=first
            ),
        }
    known |= {
        "labels": lambda: Labels(
            "labels", count=config.model.get("num_labels", 0), most=config.data.max_labels
        ),
        "text": lambda: texts(config, tokenizer),
        "audio": lambda: Sounds(
            Spectrogram(**config.audio.to_dict()), SoundAugment(**config.augment_audio.to_dict())
        ),
        "image": lambda: pictures(config, embedded=views[0] if views else None),
    }
    every = {*known, *_ALWAYS, *(PRESENT + name for name in known if name in names)}
    unknown = sorted(set(names) - every)
    if unknown:
        raise ValueError(
            f"objective {config.objective.name} reads the field {unknown[0]!r}, and batches have "
            f"{', '.join((*known, *_ALWAYS))}, and {PRESENT}NAME of the fields that are read"
        )
    return {name: make() for name, make in known.items() if name in names}


def optional_fields(names: Iterable[str]) -> frozenset[str]:
    """The fields that a row may lack: those of which an objective reads `present/NAME`."""
    return frozenset(name.removeprefix(PRESENT) for name in names if name.startswith(PRESENT))


def batch_shapes(config: ConfigDict, names: Collection[str]) -> dict[str, Any]:
    """The shapes of a global batch as it reaches the device; of pictures of any shape those of
    `NaflexImages`.

    Args:
        config: of the whole run.
        names: of `vlp.training.setup.Training.fields`.

    Raises:
        ValueError: as `host_fields`.
    """
    made = {name: field.absent for name, field in host_fields(config, names).items()}
    rows = {name: (row.shape, row.dtype) for name, row in made.items()} | _ALWAYS
    rows |= {PRESENT + name: ((), np.bool_) for name in optional_fields(names)}
    n = config.train.global_batch_size
    return {name: _shapes(n, *rows[name]) for name in names}


def _shapes(n: int, shape: tuple[int, ...], dtype: Any) -> Any:
    if names := np.dtype(dtype).names:
        parts = {name: np.dtype(dtype)[name] for name in names}
        return NaflexImages(**{k: _shapes(n, part.shape, part.base) for k, part in parts.items()})
    return jax.ShapeDtypeStruct((n, *shape), dtype)
