"""A trained model, its image preprocessing and its tokenizer, from a run or from another stack."""

import functools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flax import traverse_util

from data_pipelines.images import open_preprocess
from data_pipelines.text import Tokenizer
from vlp.interop import runs
from vlp.interop.describe import card_of
from vlp.interop.foreign import Foreign
from vlp.interop.formats import READERS, detect
from vlp.interop.frozen import read_again
from vlp.interop.given import check_source
from vlp.interop.layout import read_params
from vlp.interop.loaded import Run, model_of, param_shapes
from vlp.interop.runs import RUN
from vlp.interop.tokenizer_files import NONE
from vlp.interop.weights import open_tensors
from vlp.models.build import frozen_towers, with_frozen
from vlp.models.resize import resize_positions

NAMED = "open_clip"
"""The format whose models can be given by name in place of a configuration."""
Parts = tuple[dict[str, Any], Mapping[str, Any], dict[str, Any]]
"""The card of a run, its parameters by name, and what else there is to say of it."""


def load_run(
    source: str | os.PathLike,
    *,
    weights: str = "auto",
    image_size: int | None = None,
    text_length: int | None = None,
    tokenizer: str | os.PathLike | None = None,
    allow_pickle_weights: bool = False,
    arch: str | None = None,
    accept: Callable[[Mapping[str, Any]], None] = lambda kwargs: None,
) -> Run:
    """As `vlp.load`, with the card and the pieces by name.

    Args:
        accept: is given the model's keyword arguments before its weights are read, to raise where
            such a model will not do.
    """
    check_source(source, image_size=image_size, text_length=text_length)
    kind, path = detect(source, allow_pickle_weights=allow_pickle_weights)
    if arch is not None and kind != NAMED:
        raise ValueError(
            f"arch names a model of open_clip, got {arch!r} for {path}, which is of {kind}; leave "
            f"it out, or put {NAMED}: in front of the path"
        )
    if kind == RUN:
        card, params, rest = _open_run(path, weights, tokenizer, accept)
    else:
        read = functools.partial(
            open_tensors, weights=weights, allow_pickle_weights=allow_pickle_weights
        )
        named = {"arch": arch} if kind == NAMED else {}
        foreign = READERS[kind](path, read=read, **named)
        card, params, rest = _open_foreign(foreign, path, tokenizer, accept)
    if image_size is not None or text_length is not None:
        card, params = _resized(card, params, image_size=image_size, text_length=text_length)
    _check_pictures(card, path)
    preprocess = None if card["preprocess"] is None else open_preprocess(card["preprocess"])
    model = model_of(_with_begin(card["model"], rest["tokenizer"]), params)
    return Run(model=model, preprocess=preprocess, card=card, **rest)


def _with_begin(kwargs: dict[str, Any], tokenizer: Tokenizer | None) -> dict[str, Any]:
    """The model's, with what only the tokenizer knows: how captions begin."""
    if "decoder" not in kwargs or tokenizer is None or tokenizer.begin_id is None:
        return kwargs
    return {"begin_id": tokenizer.begin_id, **kwargs}


def _open_run(
    path: Path, weights: str, tokenizer: str | os.PathLike | None, accept: Callable
) -> Parts:
    folder, checkpoint = runs.find_run(path, weights=weights)
    card = runs.read_card_of(checkpoint)
    if tokenizer == NONE:
        card["tokenizer"] = None
    elif tokenizer is not None:
        raise ValueError(
            f'tokenizer must be left out, or "none", for a run of vlp, got {tokenizer}; a run '
            "reads by the tokenizer in its folder"
        )
    found = runs.read_tokenizer_of(folder, card)
    own, frozen = card["model"], _frozen(card)
    card["model"] = with_frozen(own, {name: kwargs for name, (kwargs, _) in frozen.items()})
    accept(card["model"])
    params, used = runs.read_weights(checkpoint, weights=weights)
    runs.check_weights(params, param_shapes(own), checkpoint)
    for name, (_, theirs) in frozen.items():
        params |= {path: array for path, array in theirs.items() if path.startswith(f"{name}/")}
    rest = dict(tokenizer=found, step=int(checkpoint.name), weights=used, folder=folder)
    return card, params, rest


def _frozen(card: dict[str, Any]) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Keyword arguments and parameters of the frozen models that a run's own reads; the card no
    longer refers to any, for what is loaded is whole."""
    references = card.pop("frozen", {})
    names = frozen_towers(card["model"])
    return {name: read_again(load_run, name, references[name]) for name in names}


def _open_foreign(
    foreign: Foreign, path: Path, tokenizer: str | os.PathLike | None, accept: Callable
) -> Parts:
    card, found = card_of(foreign, path, tokenizer)
    accept(card["model"])
    tensors = foreign.tensors
    params = read_params(foreign.rules, tensors, param_shapes(card["model"]))
    rest = dict(tokenizer=found, step=0, weights=tensors.weights, folder=path)
    listed = dict(tensors=frozenset(tensors), left_out=tensors.left_out)
    return card, params, {**rest, **listed, "format": foreign.stack}


def _resized(
    card: dict[str, Any],
    params: Mapping[str, Any],
    *,
    image_size: int | None,
    text_length: int | None,
) -> tuple[dict[str, Any], Mapping[str, Any]]:
    sizes = dict(image_size=image_size, text_length=text_length)
    nested = traverse_util.unflatten_dict(dict(params), sep="/")
    kwargs, nested = resize_positions(card["model"], nested, **sizes)
    card = card | {"model": kwargs}
    if image_size is not None:
        card["preprocess"] = _preprocess_at(image_size, card["preprocess"])
    if text_length is not None and card["tokenizer"] is not None:
        card["tokenizer"] = card["tokenizer"] | {"length": text_length}
    return card, traverse_util.flatten_dict(nested, sep="/")


def _check_pictures(card: Mapping[str, Any], path: Path) -> None:
    """Raises ValueError where the preprocessing makes what the image tower does not take."""
    tower, values = card["model"]["image"], card["preprocess"]
    if tower is None or values is None:
        return
    setting, given = ("image_size", "size") if "size" in values else ("patch_size", "patch_size")
    if tower[setting] != values[given]:
        raise ValueError(
            f"the preprocessing in {path} must give what the image tower takes, {setting} "
            f"{tower[setting]}, got {values[given]}; put the one of these weights there, or change "
            "the tower by image_size"
        )


def _preprocess_at(image_size: int, values: Mapping[str, Any]) -> dict[str, Any]:
    """The same preprocessing to another size, borders cut off in proportion."""
    before = values.get("resize_size") or values["size"]
    resize_size = round(before * image_size / values["size"])
    return open_preprocess({**values, "size": image_size, "resize_size": resize_size}).to_dict()
