"""One tower of a model of any number of them, as the plain model that other stacks hold."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from vlp.interop.loaded import Run, model_of, params_of
from vlp.models.bound import Bound

TOWERS = ("image", "text")


def is_of_many(model: Any) -> bool:
    """Whether a model is of a kind that must be taken apart."""
    return isinstance(model, Bound)


def tower_alone(kwargs: Mapping[str, Any], *, towers: str) -> dict[str, Any]:
    """Keyword arguments of the dual encoder that is one tower of a `Bound`.

    Args:
        kwargs: of the `Bound`.
        towers: "image" or "text".

    Raises:
        ValueError: both are asked for, there is no such tower, or it has no blocks of its own.
    """
    there = [name for name in TOWERS if kwargs[name] is not None]
    flags = " or ".join(f"--towers={name}" for name in there)
    if towers not in there:
        raise ValueError(
            'of a model of kind "bound" one tower is exported at a time, for other stacks know '
            f"neither its pairs nor its other towers, got towers {towers!r}; give {flags}"
        )
    if kwargs["trunk"] not in ("", towers):
        raise ValueError(
            f"the {towers} tower has no blocks but those of its trunk {kwargs['trunk']}, so no "
            f"other stack can hold it; give --towers={kwargs['trunk']}"
        )
    return {
        **dict.fromkeys(TOWERS),
        towers: kwargs[towers],
        f"{towers}_projection": kwargs["projection"],
        **{name: kwargs[name] for name in ("embed_dim", "image_mean", "image_std")},
    }


def run_alone(run: Run, *, towers: str) -> Run:
    """The run of that model, with its weights.

    Raises:
        ValueError: as `tower_alone`.
    """
    kwargs = tower_alone(run.model.kwargs, towers=towers)
    model = model_of(kwargs, params_of(run.model))
    return dataclasses.replace(run, model=model, card=run.card | {"model": model.kwargs})
