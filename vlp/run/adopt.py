"""What weights that a run begins with say of its config: all of a section, or what must come along.

A tower without its tokenizer, or pixels without their normalisation, is another function.
"""

import logging
from collections.abc import Collection, Mapping
from typing import Any

from ml_collections import ConfigDict

from data_pipelines.images import ImagePreprocess, open_preprocess
from experiments.common import base_config
from vlp.run.sections import TOWERS, undecided
from vlp.run.values import flatten, plain
from vlp.run.weights import Weights, weights_of

# Sections that `config.init.adopt` may name, in words.
_CALLED = {
    "model": "architecture",
    "preprocess": "pixels",
    "tokenizer": "tokenizer",
    "objective": "objective",
}
_OBJECTIVES = ("clip", "coca", "siglip")  # those that need no settings beside their name
# Without these the parameters that are taken compute something else: they always come along.
_OF_PIXELS = ("mean", "std")
_OF_WORDS = ("path", "vocab_size", "eos_id", "pad_id")
_log = logging.getLogger("vlp")


def of_weights(
    config: ConfigDict,
    *,
    adopt: Collection[str],
    given: Collection[str],
    before: Mapping[str, Any] | None,
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """What fills the sections that are adopted, and keys that take the place of what is usual.

    Args: as of `vlp.run.resolve.resolve`; `adopt` are the sections.

    Raises:
        ValueError: nothing known is at a source, or it lacks what is needed of it.
    """
    weights = weights_of(config)
    try:
        under = _adoption(config, weights[0], adopt=adopt) if adopt else {}
        over = _companions(config, weights, adopt=adopt)
    except ValueError:
        init = plain(config.init.to_dict())
        if before is None or {"adopt": [], **before.get("init", {})} != init:
            raise
        under = {section: before[section] for section in adopt}
        over = {f"preprocess.{name}": before["preprocess"][name] for name in _OF_PIXELS}
        over |= {f"tokenizer.{name}": before["tokenizer"][name] for name in _OF_WORDS}
        over = {key: value for key, value in over.items() if key.split(".")[0] not in adopt}
    return under, {key: value for key, value in over.items() if key not in given}


def _adoption(
    config: ConfigDict, weights: Weights, *, adopt: Collection[str]
) -> dict[str, dict[str, Any]]:
    """The sections that the weights fill; what the config has otherwise is said."""
    card, under = weights.card, {}
    model, pixels = card["model"], card["preprocess"]
    if "model" in adopt:
        pair = all(model[tower] for tower in TOWERS)
        under["model"] = undecided(model if pair else {t: model[t] for t in TOWERS})
        if "decoder" in model and weights.tokenizer.begin_id is not None:
            under["model"]["begin_id"] = weights.tokenizer.begin_id
    if "objective" in adopt:
        if card["objective"] not in _OBJECTIVES:
            raise ValueError(
                f"config.init.adopt takes the objectives {', '.join(_OBJECTIVES)}, {weights.path} "
                f"was trained by {card['objective']!r}; write config.objective yourself"
            )
        under["objective"] = {"name": card["objective"]}
    if "preprocess" in adopt and pixels is not None:
        under["preprocess"] = _without_usual_kind(pixels)
    if "tokenizer" in adopt and model["text"] is not None:
        extra = config.tokenizer.get("extra", 0)
        under["tokenizer"] = weights.tokenizer_settings(extra=extra)
    _say(config, under, weights.path)
    size = config.preprocess.get("size")
    if size is not None and "preprocess" in under:
        there = open_preprocess(under["preprocess"])
        if not isinstance(there, ImagePreprocess):
            raise ValueError(
                f"{weights.path} takes pictures at their own aspect ratio, got "
                f"config.preprocess.size={size}; leave it out, and set max_num_patches instead"
            )
        under["preprocess"] = _without_usual_kind(there.resized(size).to_dict())
    return under


def _without_usual_kind(pixels: Mapping[str, Any]) -> dict[str, Any]:
    return {key: v for key, v in pixels.items() if (key, v) != ("kind", ImagePreprocess.kind)}


def _say(config: ConfigDict, under: Mapping[str, Mapping[str, Any]], path: str) -> None:
    """Logs what is adopted, and what the config has that the weights were made without."""
    there = flatten(under)
    own = flatten({section: config[section].to_dict() for section in under})
    changed = [
        f"config.{key}={value!r} ({f'there {there[key]!r}' if key in there else 'not set there'})"
        for key, value in own.items()
        if value != {} and not (key in there and there[key] == plain(value))
    ]
    parts = ", ".join(called for section, called in _CALLED.items() if section in under)
    _log.info(
        "%s as in %s%s", parts, path, f"; changed here: {', '.join(changed)}" if changed else ""
    )


def _companions(
    config: ConfigDict, weights: Collection[Weights], *, adopt: Collection[str]
) -> dict[str, Any]:
    """What comes along with towers that are taken, by key, where the config says nothing else."""
    over: dict[str, Any] = {}
    usual = base_config().preprocess
    pixels = [
        name
        for name in (() if "preprocess" in adopt else _OF_PIXELS)
        if tuple(config.preprocess[name]) == tuple(usual[name])
    ]
    words = "tokenizer" not in adopt and not config.tokenizer.path
    for source in weights if pixels or words else ():
        card = source.card
        if pixels and card["preprocess"] is not None and source.gives_pixels:
            values = {name: tuple(card["preprocess"][name]) for name in pixels}
            over |= {f"preprocess.{k}": v for k, v in values.items() if v != tuple(usual[k])}
        if words and source.gives_words:
            values = source.tokenizer_settings(extra=config.tokenizer.extra)
            over |= {f"tokenizer.{name}": values[name] for name in _OF_WORDS}
    if over:
        named = ", ".join(f"config.{key}={value!r}" for key, value in over.items())
        _log.info("as the weights of config.init were trained: %s", named)
    return over
