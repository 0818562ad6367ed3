"""Stored vectors in place of a model: a folder of `vlp embed`, judged on the data it is of."""

import dataclasses
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from jaxtyping import Float

from data_pipelines.sources import Source
from data_pipelines.sources.fingerprints import same_data
from vlp.evals.features import EMBEDDING
from vlp.sweeps.models import VECTORS, ModelRef
from vlp.sweeps.precision import Stages
from vlp.sweeps.sets import EvalSet
from vlp.sweeps.subsets import ChosenSource
from vlp.sweeps.vectors import Rows
from vlp.vectors.shards import check_plain, read_captions, read_vectors
from vlp.vectors.stored import StoredVectors

OWN_RULE = (
    "stored vectors, of pictures as `vlp embed` decodes them (--pictures=upright), not as the "
    "benchmarks' programs do"
)


@dataclasses.dataclass(frozen=True, eq=False)
class Stored:
    """The vectors of a model that is not here.

    Attributes:
        ref: which folder.
        manifest: what it says of model and data.
    """

    ref: ModelRef
    manifest: dict[str, Any]

    @classmethod
    def of(cls, ref: ModelRef) -> "Stored":
        """The folder, opened.

        Raises:
            ValueError: it is none, is not finished, or is of augmented pictures.
        """
        vectors = StoredVectors(ref.source.removeprefix(VECTORS))
        check_plain(vectors.manifest, ref.title)
        return cls(ref, vectors.manifest)

    @property
    def folder(self) -> Path:
        """Where they lie."""
        return Path(self.ref.source.removeprefix(VECTORS))

    def at(self, stages: Stages) -> "Stored":
        """The same: no tower computes anything anew."""
        return self

    @property
    def dtype(self) -> str:
        """What they are kept in."""
        return self.manifest["dtype"]

    @property
    def weights(self) -> str:
        """Which weights of the model made them."""
        return self.manifest.get("model_settings", {}).get("weights", "")

    @property
    def run(self) -> NoReturn:
        """There is none.

        Raises:
            ValueError: always; a task asked for it.
        """
        self.without_model("asks the model itself")

    def without_model(self, what: str) -> NoReturn:
        """Raises ValueError: this task `what`, and there are stored vectors alone."""
        raise ValueError(
            f"{self.ref.title} has stored vectors alone, and this task {what}; give the model, "
            f"{self.manifest.get('model_source', '')}".rstrip(", ")
        )

    def problem(self, found: EvalSet) -> str:
        """Why the folder has no vectors of a set; "" where it has."""
        source, _ = _whole(found.pictures)
        if same_data(self.manifest.get("data"), source.fingerprint):
            return ""
        data = self.manifest.get("data_source", "other data")
        return (
            f"{self.ref.title} has the vectors of {data}, not those of {found.name}; run vlp embed "
            "on it"
        )

    def pictures(self, source: Source) -> Rows:
        """The vectors of a set's pictures, or of the part that was drawn of it."""
        _, chosen = _whole(source)
        ids, vectors = self._pictures
        if chosen is not None:
            place = np.minimum(np.searchsorted(chosen, ids), len(chosen) - 1)
            kept = chosen[place] == ids
            ids, vectors = place[kept], vectors[kept]
        return Rows(ids, vectors, [OWN_RULE])

    def captions(self, texts: Sequence[str]) -> Float[np.ndarray, "m d"]:
        """The vectors of captions.

        Raises:
            ValueError: one of them has none.
        """
        known, vectors = self._captions
        missing = [text for text in texts if text not in known]
        if missing:
            self.without_model(
                f"compares with {len(missing):,} of {len(texts):,} texts that it has no vectors of "
                f"(captions: {self.manifest.get('captions')}), such as {missing[0][:60]!r}"
            )
        return vectors[[known[text] for text in texts]]

    @cached_property
    def _pictures(self) -> tuple[np.ndarray, np.ndarray]:
        parts = list(read_vectors(self.folder, "images"))
        ids = np.concatenate([np.asarray(ids, np.int64) for ids, _ in parts])
        return ids, np.concatenate([np.asarray(rows, np.float32) for _, rows in parts])

    @cached_property
    def _captions(self) -> tuple[dict[str, int], np.ndarray]:
        texts, vectors = read_captions(self.folder)
        return {text: place for place, text in enumerate(texts)}, vectors


@dataclasses.dataclass
class StoredView:
    """See `vlp.sweeps.judged.View`.

    Attributes:
        opened: the stored vectors.
        set: what they are judged on.
        rule: by which pictures are decoded elsewhere.
        seed: of whatever a task draws.
        stages: what scores are computed in; the vectors are what they are.
    """

    opened: Stored
    set: EvalSet
    rule: str
    seed: int
    stages: Stages = dataclasses.field(default_factory=Stages)

    def on(self, found: EvalSet) -> "StoredView":
        """The same of the same pictures, with something else known of them."""
        return dataclasses.replace(self, set=found)

    def pictures(self, of: EvalSet | None = None, *, feature: str = EMBEDDING) -> Rows:
        """The vectors of the set's pictures.

        Raises:
            ValueError: they are not there, or another feature is asked for.
        """
        if feature != EMBEDDING:
            self.opened.without_model(f"reads the feature {feature!r}")
        if of is not None and (why := self.opened.problem(of)):
            raise ValueError(why)
        return self.opened.pictures((of or self.set).pictures)

    def captions(self, texts: Sequence[str]) -> Float[np.ndarray, "m d"]:
        """The vectors of captions that were embedded with the pictures."""
        return self.opened.captions(texts)

    def prompts(self, texts: Sequence[str]) -> Float[np.ndarray, "m d"]:
        """The same; other texts cannot be embedded."""
        return self.opened.captions(texts)


def _whole(source: Source) -> tuple[Source, np.ndarray | None]:
    """The data that a part was drawn of, and which samples; None for all."""
    if isinstance(source, ChosenSource):
        return source.source, source.rows
    return source, None
