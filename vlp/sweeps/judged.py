"""What a task says of a model on a set, and what it is given for that."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from vlp.evals.features import EMBEDDING
from vlp.evals.measures import Measure, Weights
from vlp.sweeps.embedding import Opened
from vlp.sweeps.precision import Stages
from vlp.sweeps.sets import EvalSet
from vlp.sweeps.vectors import Rows


@runtime_checkable
class View(Protocol):
    """A model's view of a set.

    Attributes:
        opened: the model.
        set: pictures, labels, captions and what else is known.
        rule: by which pictures are decoded.
        seed: of whatever a task draws.
        stages: what is computed in what.
    """

    opened: Opened
    set: EvalSet
    rule: str
    seed: int
    stages: Stages

    def on(self, found: EvalSet) -> "View":
        """The same of the same pictures, with something else known of them."""

    def pictures(self, of: EvalSet | None = None, *, feature: str = EMBEDDING) -> Rows:
        """The embedded pictures of the set, or of another one; or another feature of them."""

    def captions(self, texts: Sequence[str]) -> Float[np.ndarray, "m d"]:
        """Embedded texts, which are kept."""

    def prompts(self, texts: Sequence[str]) -> Float[np.ndarray, "m d"]:
        """Embedded texts, which are not kept."""


@dataclass(frozen=True)
class Redrawn:
    """A task with other templates, drawn from its own.

    Attributes:
        templates: how many there are; 0 where classes share none.
        values: from how often each of them counts to the metrics, of all samples.
    """

    templates: int
    values: Callable[[Weights], Mapping[str, float]]


@dataclass(frozen=True)
class Judged:
    """The scores of a task.

    Attributes:
        measures: metrics by name, all of the same samples.
        samples: how many these are.
        ids: the pictures that they are, where they are pictures; for tables by sample.
        said: of every sample, what was said of it: arrays `[samples]` by name, such as "label" and
            "predicted".
        counts: of what there was.
        notes: sentences for a reader of the scores.
        redrawn: with other templates, where it has any.
    """

    measures: Mapping[str, Measure]
    samples: int
    ids: np.ndarray | None = None
    said: Mapping[str, np.ndarray] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    notes: Sequence[str] = ()
    redrawn: Redrawn | None = None
