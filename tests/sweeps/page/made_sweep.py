"""A sweep that nobody ran: rows, samples and sets with pictures, drawn by a seed."""

import io
from typing import Any

import numpy as np
from PIL import Image

from data_pipelines.faults import Reject
from data_pipelines.limits import LIMITS
from data_pipelines.sources import Source
from vlp.evals.measures import class_mean, quotient
from vlp.sweeps.judged import Judged
from vlp.sweeps.samples import SampleStore
from vlp.sweeps.scores import scores_of
from vlp.sweeps.sets import EvalSet

CLASSES = ("cat", "dog & wolf", "<b>bird</b>", "red fox", "a very long name of a class")
BATCH = 256


class Photographs(Source):
    """A source of photographs, of which the first cannot be read."""

    def __init__(self, name: str, count: int, *, seed: int = 0) -> None:
        self.name, self.limits = name, LIMITS
        self._count, self._seed = count, seed

    @property
    def fingerprint(self) -> str:
        """Of the name."""
        return f"pictures of {self.name}"

    def __len__(self) -> int:
        return self._count

    def key(self, index: int) -> str:
        """The number."""
        return f"{index:06d}"

    def image(self, index: int) -> bytes:
        """A JPEG of colours that flow, with some grain."""
        if index == 0:
            raise Reject("image empty")
        rng = np.random.default_rng((self._seed, index))
        small = Image.fromarray(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8))
        large = np.asarray(small.resize((240, 180), Image.Resampling.BICUBIC), np.int16)
        grain = rng.integers(-12, 13, large.shape, dtype=np.int16)
        file = io.BytesIO()
        Image.fromarray(np.clip(large + grain, 0, 255).astype(np.uint8)).save(file, "jpeg")
        return file.getvalue()


def made_sweep(
    store: SampleStore,
    *,
    models: int = 2,
    sets: int = 2,
    steps: int = 1,
    samples: int = 60,
    draws: int = 20,
    **changed: Any,
) -> tuple[list[dict[str, Any]], dict[str, EvalSet]]:
    """Rows of classification (even sets) and retrieval (odd ones), and the sets.

    Args:
        store: where samples are kept.
        models: how many; later ones are better.
        sets: how many.
        steps: of every model; 10, 20, ...
        samples: of a set.
        draws: of the bootstrap.
        changed: values of every row.
    """
    rng = np.random.default_rng(0)
    found: dict[str, EvalSet] = {}
    rows: list[dict[str, Any]] = []
    for number in range(sets):
        kept = _set(f"{('objects', 'captions')[number % 2]}-{number}", samples, number)
        found[kept.name] = kept
        for model in range(models):
            for step in range(1, steps + 1):
                skill = 1 - 0.9 * (step + 2 * model + 1) ** -0.4
                judged = _judged(kept, skill, rng)
                row = _row(kept, judged, model, 10 * step, draws) | changed
                store.keep(row["key"], judged, pictures=kept.pictures)
                rows.append(row)
    return rows, found


def _set(name: str, samples: int, number: int) -> EvalSet:
    pictures = Photographs(name, samples, seed=number)
    labels = np.random.default_rng(number).integers(len(CLASSES), size=samples)
    texts = [f"what picture {i} of {name} shows" for i in range(samples)]
    if number % 2:
        return EvalSet(name, pictures, texts=texts, picture_of_text=np.arange(samples))
    templates = ("a photo of a {c}.", "art of a {c}.")
    return EvalSet(name, pictures, labels=labels, class_names=CLASSES, templates=templates)


def _judged(kept: EvalSet, skill: float, rng: np.random.Generator) -> Judged:
    size = len(kept)
    right = rng.random(size) < skill
    if kept.labels is None:
        measures = {
            f"{way}/R@{k}": quotient(right | (rng.random(size) < k / 20), chance=k / size)
            for way in ("image_to_text", "text_to_image")
            for k in (1, 5)
        }
        return Judged(measures, size, np.arange(size), {}, {"pictures": size, "texts": size})
    other = (kept.labels + rng.integers(1, len(CLASSES), size)) % len(CLASSES)
    predicted = np.where(right, kept.labels, other)
    measures = {
        "top1": quotient(right, chance=1 / len(CLASSES), if_hit=right),
        "mean_per_class_recall": class_mean(right, kept.labels, num_classes=len(CLASSES)),
    }
    said = {"label": kept.labels, "predicted": predicted}
    counts = {"pictures": size, "classes": len(CLASSES)}
    return Judged(measures, size, np.arange(size), said, counts, ["1 picture could not be read"])


def _row(kept: EvalSet, judged: Judged, model: int, step: int, draws: int) -> dict[str, Any]:
    task = "retrieval" if kept.labels is None else "classification"
    main = "image_to_text/R@1" if kept.labels is None else "top1"
    name = f"runs/model-{model}"
    return {
        "key": f"{kept.name}-{model}-{step}",
        "model": name,
        "source": f"{name}/checkpoints/{step}",
        "step": step,
        "samples_seen": step * BATCH,
        "set": kept.name,
        "split": "test",
        "group": "",
        "task": task,
        "main": main,
        "settings": {"pictures": "plain", "limit": 0},
        "fingerprint": kept.pictures.fingerprint,
        "versions": {"vlp": "0.1.0", "jax": "1"},
        "time": f"2026-07-01T00:00:{step % 60:02d}Z",
        "dtype": "float32",
        "weights": "ema",
        "seconds": {"embedding": 1.5, "task": 0.5},
        "metrics": scores_of(judged, draws=draws, seed=0),
        "counts": dict(judged.counts),
        "notes": list(judged.notes),
    }
