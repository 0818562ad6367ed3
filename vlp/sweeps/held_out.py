"""A validation loss: batches of held-out pairs, as training has them but without augmentation."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from data_pipelines.evaluation import Deal, eval_captions, eval_images
from data_pipelines.faults import summary
from data_pipelines.sources import Source
from data_pipelines.threads import THREADS
from vlp.evals.results import make_result
from vlp.jobs.data_checks import check_captions, check_images
from vlp.models.naflex import device_images
from vlp.parallel.ids import id_words
from vlp.parallel.sharding import put_batch
from vlp.parallel.together import raise_anywhere
from vlp.sweeps.subsets import ChosenSource
from vlp.training.held_out import held_out_loss
from vlp.training.setup import Training
from vlp.version import versions

LOSS = "loss"
_FIELDS = ("weight", "image", "text", "id")


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """Pairs for a validation loss.

    Attributes:
        source: where they are.
        inputs: of the training, which prepare them: `preprocess` and `tokenize`.
        rows: of a batch, over all processes: the training's, as a contrastive loss depends on it.
        notes: sentences on what is left out.
    """

    source: Source
    inputs: Any
    rows: int
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, source: Source, inputs: Any, *, rows: int, limit: int = 0, seed: int = 0
    ) -> "HeldOut":
        """The pairs of some data, in an order drawn by a seed, so that batches are mixed.

        Args:
            source: all pairs.
            inputs: of the training.
            rows: see above.
            limit: pairs; 0 for all.
            seed: of the order, and so of which pairs they are.

        Raises:
            ValueError: the limit is below 0, or no pair can be read.
        """
        if limit < 0:
            raise ValueError(f"limit must be 0 (all) or more, got {limit}")
        check_images(source, "task loss")
        check_captions(source, "task loss")
        order = np.random.default_rng(seed).permutation(len(source))[: limit or None]
        over = len(order) % rows if len(order) > rows else 0
        notes = (f"{over:,} pairs that fill no batch of {rows:,} are left out",) if over else ()
        return cls(ChosenSource(source, order[: len(order) - over]), inputs, rows, notes)

    def check(self, training: Training) -> None:
        """Refuses an objective that reads what these batches have not.

        Raises:
            ValueError: names the field.
        """
        others = sorted(set(training.fields) - set(_FIELDS))
        if others:
            raise ValueError(
                f"task loss is of objectives that read {', '.join(_FIELDS[1:])}, this one reads "
                f"{others[0]!r} as well; leave the evaluation out"
            )

    def result(
        self, training: Training, state: Any, *, weights: str, step: int, dtype: str
    ) -> dict[str, Any]:
        """The loss on these pairs, see `make_result`. Every process must call this."""
        captions = eval_captions(self.source, captions="first")
        failures: list[Exception] = []
        batches = self._batches(training, captions, failures)
        means, pairs = held_out_loss(training, state, batches, weights=weights)
        raise_anywhere(failures)
        if not pairs:
            raise ValueError(f"{self.source.name} must hold pairs that can be read, it has none")
        left_out = [f"captions left out: {summary(captions.rejects)}"] if captions.rejects else []
        return make_result(
            LOSS,
            {"metrics": means, "counts": {"pairs": pairs, "rows": self.rows}},
            data=self.source.name,
            fingerprint=self.source.fingerprint,
            samples=pairs,
            rejected=len(self.source) - pairs,
            step=step,
            dtype=dtype,
            versions=versions(),
            notes=[*self.notes, *left_out],
        )

    def _batches(
        self, training: Training, captions: Any, failures: list[Exception]
    ) -> Iterator[Mapping[str, Any]]:
        processes = jax.process_count()
        tokens = self.inputs.tokenize(captions.texts)
        own = np.full(len(self.source), -1)
        own[captions.ids] = np.arange(len(captions.ids))
        batches = eval_images(
            self.source,
            self.inputs.preprocess,
            batch_size=self.rows // processes,
            num_threads=THREADS,
            deal=Deal(jax.process_index(), processes, failures if processes > 1 else None),
        )
        for batch in batches:
            row = np.where(batch["id"] >= 0, own[batch["id"]], -1)
            weight = np.where(row >= 0, batch["weight"], 0).astype(np.float32)
            rows = {
                "image": device_images(batch["image"]),
                "text": tokens[np.maximum(row, 0)],
                "weight": weight,
                "id": id_words(np.where(weight > 0, batch["id"], -1)),
            }
            yield put_batch({name: rows[name] for name in training.fields}, training.mesh)
