"""What of other weights a run looks at and nobody changes: cut out, named, and read again."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vlp.interop.adapt import Params, only_tower
from vlp.interop.loaded import Run, fingerprint, model_of, params_of

_BLOCKS = "image/stack/blocks/"


def part(
    kwargs: Mapping[str, Any], params: Params, *, towers: str, drop_blocks: int
) -> tuple[dict[str, Any], Params]:
    """The part of a model that is looked at.

    Args:
        kwargs, params: of the whole model, parameters by name; none to have the arguments alone.
        towers: "both", or "image" or "text" for one alone.
        drop_blocks: how many of the image tower's last blocks are left out.

    Raises:
        ValueError: when there is no such tower, or it has too few blocks.
    """
    kwargs, params = only_tower(kwargs, params, towers=towers)
    if not drop_blocks:
        return kwargs, params
    image = kwargs["image"]
    depth = image["depth"] if image and image.get("kind", "vit") == "vit" else 0
    if not 0 < drop_blocks < depth:
        raise ValueError(
            f"drop_blocks must leave blocks of an image tower of kind vit, which has {depth}, got "
            f"{drop_blocks}; give less, or 0"
        )
    left = depth - drop_blocks
    cut = {n: p[:left] if n.startswith(_BLOCKS) else p for n, p in params.items()}
    return {**kwargs, "image": {**image, "depth": left}}, cut


def read_part(
    load: Callable[..., Run],
    path: str,
    *,
    towers: str = "both",
    drop_blocks: int = 0,
    **settings: Any,
) -> tuple[Any, dict[str, Any]]:
    """A part of other weights as a model, and what a card keeps of it: all to read it again.

    Args:
        load: `vlp.interop.load.load_run`.
        path: whatever that reads.
        towers, drop_blocks: see `part`.
        **settings: further ones of `load`.
    """
    run = load(path, **settings)
    cut: dict[str, Any] = dict(towers=towers, drop_blocks=drop_blocks)
    model = model_of(*part(run.card["model"], params_of(run.model), **cut))
    here = Path(path.rpartition(":")[2]).expanduser().exists()
    source = f"{run.format}:{run.folder}" if here else path  # a name on the Hub stays one
    return model, {"source": source, "model": fingerprint(model), "settings": {**cut, **settings}}


def read_again(
    load: Callable[..., Run], name: str, reference: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Keyword arguments and parameters, by name, of what a card refers to.

    Args:
        load: `vlp.interop.load.load_run`.
        name: what the run calls it.
        reference: see `read_part`.

    Raises:
        ValueError: nothing is there any more, or something else.
    """
    source = reference["source"]
    try:
        model, found = read_part(load, source, **reference["settings"])
    except ValueError as error:
        raise ValueError(
            f"this run's weights are whole with those it reads of config.frozen.{name}, which must "
            f"be at {source} as they were: {error}"
        ) from error
    if found["model"] != reference["model"]:
        raise ValueError(
            f"the weights at {source} must be those that this run reads as config.frozen.{name} "
            f"({reference['model'][:16]}…), got others ({found['model'][:16]}…); put them back"
        )
    return model.kwargs, params_of(model)
