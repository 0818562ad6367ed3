"""The frozen models of a run: other weights, which the objective looks at and nobody changes."""

import dataclasses
import logging
from collections.abc import Mapping
from typing import Any

from flax import nnx
from ml_collections import ConfigDict

from data_pipelines.text import Tokenizer
from vlp.interop.describe import describe
from vlp.interop.frozen import part, read_part
from vlp.interop.load import load_run
from vlp.interop.tokenizer_files import NONE
from vlp.models.build import make_model
from vlp.models.presets import dual_encoder_preset
from vlp.models.towers import TOWERS as KINDS
from vlp.run.weights import same_words
from vlp.training.state import abstract_model

TOWERS = ("both", "image", "text")
_log = logging.getLogger("vlp")


@dataclasses.dataclass(frozen=True)
class Frozen:
    """A model that a run looks at.

    Attributes:
        kwargs: its keyword arguments.
        params: nested dict of arrays.
        reference: what a checkpoint keeps of it: where and how it was read, and a hash.
    """

    kwargs: dict[str, Any]
    params: Any
    reference: dict[str, Any]


def open_frozen(config: ConfigDict, tokenizer: Tokenizer | None) -> dict[str, Frozen]:
    """The models that `config.frozen` names, read.

    Args:
        config: of the whole run.
        tokenizer: the run's, by whose ids frozen text towers read too.

    Raises:
        ValueError: nothing known is there, or a model does not take this run's pictures or texts;
            names the trouble with all of them at once.
    """
    found, wrong = {}, []
    for name, settings in config.frozen.items():
        try:
            found[name] = _open(config, tokenizer, name=name, **settings.to_dict())
        except ValueError as error:
            wrong.append(f"config.frozen.{name}: {error}")
    if wrong:
        raise ValueError("\n".join(wrong))
    return found


def planned_frozen(config: ConfigDict) -> dict[str, dict[str, Any]]:
    """The keyword arguments of the models that `config.frozen` names; no weight is read."""
    return {
        name: _planned(config, **settings.to_dict()) for name, settings in config.frozen.items()
    }


def abstract_frozen(kwargs: Mapping[str, Any]) -> tuple[Any, Any]:
    """The graph definition of a frozen model, and its parameters' shapes."""
    return abstract_model(lambda rngs: make_model(kwargs, rngs=rngs))


def _planned(
    config: ConfigDict,
    *,
    path: str = "",
    towers: str = "both",
    drop_blocks: int = 0,
    preset: str = "",
    precision: str = "",
    **_: Any,
) -> dict[str, Any]:
    """The keyword arguments that `_open` will find; a preset says them where nothing is there."""
    kwargs = dual_encoder_preset(preset) if preset else describe(path, tokenizer=NONE)[0]["model"]
    kwargs, _ = part(kwargs, {}, towers=towers, drop_blocks=drop_blocks)
    for tower, size in _other_sizes(config, kwargs).values():
        kwargs[tower] = kwargs[tower] | size
    return _in_precision(kwargs, precision)


def _open(
    config: ConfigDict,
    tokenizer: Tokenizer | None,
    *,
    name: str,
    path: str = "",
    weights: str = "auto",
    towers: str = "both",
    drop_blocks: int = 0,
    preset: str = "",
    precision: str = "",
) -> Frozen:
    """A model, its positions resized to the run's pictures and texts.

    Args:
        config: of the whole run.
        tokenizer: the run's.
        name: of the section.
        path: whatever `vlp.load` reads.
        weights: as `vlp.load` takes them.
        towers: "both", or "image" or "text" for one alone.
        drop_blocks: how many of the image tower's last blocks are left out.
        preset: for plans without weights.
        precision: of the towers' computations, such as "bfloat16"; as the model itself has it, if
            not given. The weights stay as they are.
    """
    if towers not in TOWERS:
        raise ValueError(f"towers must be one of {', '.join(TOWERS)}, got {towers!r}")
    card, theirs = describe(path, tokenizer=NONE if towers == "image" else None)
    kwargs, _ = part(card["model"], {}, towers=towers, drop_blocks=drop_blocks)
    if kwargs["text"] is not None:
        _check_tokenizer(theirs, tokenizer)
    sizes = _other_sizes(config, kwargs)
    model, reference = read_part(
        load_run,
        path,
        towers=towers,
        drop_blocks=drop_blocks,
        weights=weights,
        tokenizer=None if kwargs["text"] else NONE,
        **{argument: next(iter(size.values())) for argument, (_, size) in sizes.items()},
    )
    for tower, size in sizes.values():
        _log.warning(
            "config.frozen.%s: positions of its %s tower are resized: %s", name, tower, size
        )
    params = nnx.to_pure_dict(nnx.state(model))
    return Frozen(_in_precision(model.kwargs, precision), params, reference)


def _in_precision(kwargs: Mapping[str, Any], precision: str) -> dict[str, Any]:
    towers = [name for name in KINDS if precision and kwargs.get(name) is not None]
    return {**kwargs, **{name: kwargs[name] | {"dtype": precision} for name in towers}}


def _other_sizes(config: ConfigDict, kwargs: Mapping[str, Any]) -> dict[str, tuple[str, dict]]:
    """By argument of `load_run`: the tower and the setting that differ from the run's."""
    pixels = {"image_size": config.preprocess.size} if "size" in config.preprocess else {}
    sizes = {
        "image_size": ("image", pixels),
        "text_length": ("text", {"length": config.tokenizer.length}),
    }
    return {
        argument: (tower, size)
        for argument, (tower, size) in sizes.items()
        if kwargs[tower] is not None and not size.items() <= kwargs[tower].items()
    }


def _check_tokenizer(theirs: Tokenizer | None, tokenizer: Tokenizer | None) -> None:
    if theirs is None or tokenizer is None or not same_words(theirs, tokenizer):
        raise ValueError(
            "its text tower must read by this run's tokenizer, and has "
            f"{theirs.name if theirs else 'none'}; set config.tokenizer.path to that of these "
            'weights, or towers="image" where its texts are not asked for'
        )
