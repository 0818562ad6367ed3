"""A trained model, its image preprocessing and its tokenizer, from a run or from another stack.

import vlp
model, preprocess, tokenize = vlp.load("runs/emoji")
zimg = model.encode_image(preprocess(["cat.png"])).embedding
ztxt = model.encode_text(tokenize(["a cat face", "a red heart"])).embedding
print(zimg @ ztxt.T)
"""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from flax import traverse_util
from jaxtyping import Int

from data_pipelines.images import open_preprocess
from data_pipelines.text import Tokenizer
from vlp.interop import runs
from vlp.interop.describe import card_of
from vlp.interop.foreign import Foreign
from vlp.interop.formats import READERS, RUN, detect
from vlp.interop.layout import read_params
from vlp.interop.loaded import LoadedEncoder, model_of, param_shapes
from vlp.interop.tokenizer_files import NONE
from vlp.models.resize import resize_positions

__all__ = ["LoadedEncoder", "Run", "load", "load_run"]


@dataclasses.dataclass(frozen=True)
class Run:
    """A model, opened: one checkpoint of a run, or the files of another stack.

    Attributes:
        model: the model with its weights.
        preprocess: any images to what `model.encode_image` takes; None without an image tower.
        tokenizer: of the text tower; None without one, or where it was left out on purpose.
        card: see `vlp.interop.card`.
        step: updates the weights have seen; 0 for weights of another stack.
        weights: "params", or "ema": the average over the run.
        folder: where it was read.
    """

    model: LoadedEncoder
    preprocess: Any
    tokenizer: Tokenizer | None
    card: dict[str, Any]
    step: int
    weights: str
    folder: Path

    def tokenize(self, texts: str | Sequence[str]) -> Int[np.ndarray, "n l"]:
        """Token ids int32 of one caption or several, as long as the model's text input.

        Raises:
            ValueError: the model was loaded without a tokenizer.
        """
        if self.tokenizer is None:
            raise ValueError(
                "tokenize needs a tokenizer, and this model was loaded without one; "
                "load it with tokenizer=FILE"
            )
        texts = [texts] if isinstance(texts, str) else list(texts)
        return self.tokenizer.encode(texts, self.card["tokenizer"]["length"])


def load(
    source: str | os.PathLike,
    *,
    weights: str = "auto",
    image_size: int | None = None,
    text_length: int | None = None,
    tokenizer: str | os.PathLike | None = None,
    allow_pickle_weights: bool = False,
) -> tuple[LoadedEncoder, Any, Callable[[str | Sequence[str]], np.ndarray]]:
    """What one needs to embed images and texts with a trained model.

    Args:
        source: the workdir of `vlp train`, for its newest undamaged checkpoint, or the folder of
            one checkpoint; a folder of transformers, open_clip or timm; an npz of big_vision. The
            format is seen from the files, or given in front: "hf:", "open_clip:", "timm:",
            "big_vision:".
        weights: of a run: "ema" for the average of the weights, "params" for the weights
            themselves, "auto" for the average where the run kept one.
        image_size, text_length: change the model's input; position embeddings are resized by the
            rule of `vlp.models.resize.resize_positions`.
        tokenizer: a file or folder to read the tokenizer from where the weights bring none, or
            "none" to do without. A run has its own.
        allow_pickle_weights: read torch pickles, by `torch.load(weights_only=True)`.

    Returns:
        The model (`encode_image`, `encode_text`), `preprocess` (paths, Pillow images or arrays to
        what `encode_image` takes) and `tokenize` (captions to int32 `[n, l]`).

    Raises:
        ValueError: nothing known is there, or what is there is damaged or does not fit together;
            nothing is half-loaded.
    """
    run = load_run(
        source,
        weights=weights,
        image_size=image_size,
        text_length=text_length,
        tokenizer=tokenizer,
        allow_pickle_weights=allow_pickle_weights,
    )
    return run.model, run.preprocess, run.tokenize


def load_run(
    source: str | os.PathLike,
    *,
    weights: str = "auto",
    image_size: int | None = None,
    text_length: int | None = None,
    tokenizer: str | os.PathLike | None = None,
    allow_pickle_weights: bool = False,
) -> Run:
    """As `load`, with the card and the pieces by name."""
    if weights not in runs.WEIGHTS:
        raise ValueError(f"weights must be one of {', '.join(runs.WEIGHTS)}, got {weights!r}")
    kind, path = detect(source)
    if kind == RUN:
        parts = _open_run(path, weights, tokenizer)
    else:
        if weights == "ema":
            raise ValueError(f"only runs keep an average of their weights, {path} is of {kind}")
        foreign = READERS[kind](path, allow_pickle_weights=allow_pickle_weights)
        parts = _open_foreign(foreign, path, tokenizer)
    parts = _resized(parts, image_size=image_size, text_length=text_length)
    _check_pictures(parts.card, path)
    return parts.run()


@dataclasses.dataclass(frozen=True)
class _Parts:
    """A run before its model is made."""

    card: dict[str, Any]
    params: Mapping[str, Any]
    tokenizer: Tokenizer | None
    step: int
    weights: str
    folder: Path

    def run(self) -> Run:
        preprocess = self.card["preprocess"]
        return Run(
            model=model_of(self._kwargs, self.params),
            preprocess=None if preprocess is None else open_preprocess(preprocess),
            tokenizer=self.tokenizer,
            card=self.card,
            step=self.step,
            weights=self.weights,
            folder=self.folder,
        )

    @property
    def _kwargs(self) -> dict[str, Any]:
        """The model's, with what only the tokenizer knows: how captions begin."""
        kwargs, tokenizer = self.card["model"], self.tokenizer
        if "decoder" not in kwargs or tokenizer is None or tokenizer.begin_id is None:
            return kwargs
        return {"begin_id": tokenizer.begin_id, **kwargs}


def _open_run(path: Path, weights: str, tokenizer: str | os.PathLike | None) -> _Parts:
    folder, checkpoint = runs.find_run(path)
    card = runs.read_card_of(checkpoint)
    if tokenizer == NONE:
        card["tokenizer"] = None
    elif tokenizer is not None:
        raise ValueError(
            f'tokenizer must be left out, or "none", for a run of vlp, got {tokenizer}; a run '
            "reads by the tokenizer in its folder"
        )
    found = runs.read_tokenizer_of(folder, card)
    params, used = runs.read_weights(checkpoint, weights=weights)
    runs.check_weights(params, param_shapes(card["model"]), checkpoint)
    return _Parts(card, params, found, int(checkpoint.name), used, folder)


def _open_foreign(foreign: Foreign, path: Path, tokenizer: str | os.PathLike | None) -> _Parts:
    card, found = card_of(foreign, path, tokenizer)
    params = read_params(foreign.rules, foreign.tensors, param_shapes(card["model"]))
    return _Parts(card, params, found, 0, "params", path)


def _resized(parts: _Parts, *, image_size: int | None, text_length: int | None) -> _Parts:
    if image_size is None and text_length is None:
        return parts
    sizes = dict(image_size=image_size, text_length=text_length)
    nested = traverse_util.unflatten_dict(dict(parts.params), sep="/")
    kwargs, nested = resize_positions(parts.card["model"], nested, **sizes)
    params = traverse_util.flatten_dict(nested, sep="/")
    card = parts.card | {"model": kwargs}
    if image_size is not None:
        card["preprocess"] = _preprocess_at(image_size, card["preprocess"])
    if text_length is not None and card["tokenizer"] is not None:
        card["tokenizer"] = card["tokenizer"] | {"length": text_length}
    return dataclasses.replace(parts, card=card, params=params)


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
