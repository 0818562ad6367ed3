"""What an objective is given, what it returns, and what it may declare."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Array, Bool, Float, Int, Key


@dataclasses.dataclass(frozen=True)
class Context:
    """What an objective is given at a step.

    Attributes:
        model: the model that trains.
        batch: arrays `[n, ...]` by name: the fields that objective and model declare, and `weight`
            float32 `[n]`, 0 where a row is no example.
        key: of this step; every use must split it.
        step: updates so far.
        carry: what the step before handed on, see `Objective.make_carry`.
        momentum: the model's moving average, see `Objective.momentum`; no gradient flows into it.
        frozen: other models by name, as `config.frozen` says; nor into these.
    """

    model: Any
    batch: Mapping[str, Any]
    key: Key[Array, ""]
    step: Int[Array, ""] | int = 0
    carry: Any = None
    momentum: Any = None
    frozen: Mapping[str, Any] = dataclasses.field(default_factory=dict)


class Term(NamedTuple):
    """One of the losses that an objective adds up.

    Attributes:
        values: one number an example; those of rows that do not count may be anything.
        weight: of the term.
        rows: which examples the term is about, where that is not all of the batch: its mean is
            taken over these alone.
    """

    values: Float[Array, " n"]
    weight: float | Float[Array, ""] = 1.0
    rows: Bool[Array, " n"] | None = None


class Losses(NamedTuple):
    """What an objective returns.

    Attributes:
        terms: what is minimised is the sum of their means times their weights. Where there are
            several, the mean of each is logged as `train/<name>_loss`.
        metrics: to be logged besides: scalars, or `[n]`, of which the mean is.
        carry: for the next step.
    """

    terms: Mapping[str, Term]
    metrics: Mapping[str, Array] = {}
    carry: Any = None


class Momentum(NamedTuple):
    """A moving average of the model that an objective needs.

    Attributes:
        decay: `m = decay m + (1 - decay) p` after every step.
        warmup: begin with a shorter average, decay `(1 + step) / (10 + step)`.
    """

    decay: float
    warmup: bool = False


@runtime_checkable
class Objective(Protocol):
    """What is minimised. A class in `vlp/objectives/NAME.py` with this base is found by NAME.

    The arguments of its constructor are the settings of `config.objective`. With an argument `mesh`
    it is given the mesh, over which losses of whole batches may be spread; with `most_rows`, by
    name of the modalities that not all rows have, in how many of a device's rows they can be.

    Attributes:
        fields: what it reads of a batch beside `weight`, see `vlp.run.fields`.
        momentum: of the average in `Context.momentum`; None for none.
        frozen: names of the models that it looks for in `Context.frozen`.
        embeddings_alone: whether of captions it reads what their embeddings are alone, so that
            columns of padding may be left out.
        several_captions: whether it takes texts of several captions a row, `[n, k, l]`, see
            `vlp.objectives.common.several`.
    """

    fields: tuple[str, ...] = ("image", "text")
    momentum: Momentum | None = None
    frozen: tuple[str, ...] = ()
    embeddings_alone: bool = False
    several_captions: bool = False

    def __call__(self, ctx: Context) -> Losses:
        """The losses of a batch.

        Raises:
            ValueError: when the model cannot do what is asked of it.
        """
        ...

    def make_carry(self, model: Any, *, global_batch_size: int) -> Any:
        """What is handed from step to step, at the start: a pytree of arrays, or None.

        Arrays `[k, n, ...]` are split over a mesh as batches of n are.
        """
        return None
