"""A model as an npz of big_vision, which `open_clip` reads as well."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vlp.files import write_bytes
from vlp.interop.adapt import Params, adapt, complete, only_tower, plain_vit
from vlp.interop.big_vision.layout import WEIGHTS, rules
from vlp.interop.hf.write import check_card
from vlp.interop.layout import write_tensors
from vlp.interop.loaded import Run, params_of, without_weights
from vlp.interop.readme import shown, write_readme
from vlp.interop.samples import EXAMPLE, EXAMPLE_TEXTS

ROOT = "params/"
_ACCEPTED: dict[str, tuple[Any, ...]] = {
    **plain_vit(pool=("map", "mean", "cls")),
    "image.activation": ("gelu_tanh",),
    "image.norm_eps": (1e-6,),
    "image_projection": ("none", "linear_bias"),
    "text.kind": ("transformer", "bert"),
    "text.activation": ("gelu_tanh",),
    "text_projection": ("none", "linear_bias"),
}
_TEXT: dict[str, tuple[Any, ...]] = {
    "text.causal": (False,),
    "text.mask_padding": (False,),
    "text.pool": ("last",),
    "text.layer_scale": (None,),
    "text.norm_eps": (1e-6,),
}
_BERT: dict[str, tuple[Any, ...]] = {
    "text.pool": ("cls",),
    "text.pooler": (False,),
    "text.norm_eps": (1e-12,),
}
_USAGE = """\
import vlp

model, preprocess, tokenize = vlp.load("big_vision:model.npz"{loading})
"""
_SHOW_IMAGE = f"""\
image_embeds = model.encode_image(preprocess(["{EXAMPLE}"])).embedding
"""
_SHOW_TEXT = f"""\
text_embeds = model.encode_text(tokenize({list(EXAMPLE_TEXTS)})).embedding
"""
_SHOW_IDS = """\
import numpy as np

ids = np.ones((2, {length}), np.int32)  # of your tokenizer: none lies beside the arrays
text_embeds = model.encode_text(ids).embedding
"""
_ELSEWHERE = """\
In big_vision: `config.model_init = "model.npz"`, with the model two_towers. In open_clip:
  `create_model(NAME, pretrained="model.npz")`, with a SigLIP of these sizes."""
_RESIZE = """\
big_vision resizes pictures without antialiasing (`resize(size)|value_range(-1, 1)`), which is 20 to
  35 dB from what the model was trained with unless it was trained there."""


def write(
    run: Run,
    folder: Path,
    *,
    towers: str = "both",
    metrics: Mapping[str, float] | None = None,
    scan: bool = False,
) -> None:
    """Writes the npz, the tokenizer's model where it is SentencePiece's, and a README.

    Args:
        run: whose model to write.
        folder: an empty folder.
        towers: "both", "image" or "text".
        metrics: figures for the README, by name.
        scan: the blocks of a tower as one with a leading axis, as with `scan=True` there.

    Raises:
        ValueError: big_vision cannot express the model; names the setting.
    """
    kwargs, params = _adapted(run.model.kwargs, params_of(run.model), towers=towers)
    check_card(run, kwargs)
    scanned = dict.fromkeys(("image", "text"), scan)
    tensors = write_tensors(rules(kwargs, scanned=scanned), params)
    arrays: dict[str, Any] = {f"{ROOT}{name}": array for name, array in tensors.items()}
    np.savez(folder / WEIGHTS, **arrays)
    model = getattr(run.tokenizer, "model", None) if kwargs["text"] else None
    if model is not None:
        write_bytes(folder / "tokenizer.model", model)
    write_readme(
        run,
        folder,
        title="arrays for big_vision",
        usage=_usage(kwargs, towers=towers, tokenizer=model is not None),
        notes=[_ELSEWHERE, _RESIZE],
        metrics=metrics,
    )


def _adapted(
    kwargs: Mapping[str, Any], params: Params, *, towers: str = "both", **settings: Any
) -> tuple[dict[str, Any], Params]:
    kwargs, params = only_tower(complete(kwargs), params, towers=towers)
    return adapt(kwargs, params, accepted=_accepted(kwargs), stack="big_vision")


check_model = without_weights(_adapted)


def reader(folder: Path) -> Any:
    """The npz, opened by open_clip's converter.

    Raises:
        ImportError: torch or open_clip cannot be imported, or does not read such a model.
    """
    try:
        from vlp.interop.big_vision.oracle import BigVisionReader
    except RuntimeError as error:  # a torchvision for another torch
        raise ImportError(str(error)) from error
    return BigVisionReader(folder)


def _usage(kwargs: Mapping[str, Any], *, towers: str, tokenizer: bool) -> str:
    """Python that opens the arrays with this library: big_vision is none that can be installed."""
    image, text = kwargs["image"], kwargs["text"]
    loading = f", image_size={image['image_size']}" if image else ""
    loading += ', tokenizer="none"' if text and not tokenizer else ""
    usage = _USAGE.format(loading=loading)
    usage += _SHOW_IMAGE if image else ""
    if text:
        usage += _SHOW_TEXT if tokenizer else _SHOW_IDS.format(length=text["length"])
    return usage + shown(towers)


def _accepted(kwargs: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    image, text = kwargs["image"], kwargs["text"]
    bert = bool(text) and text["kind"] == "bert"
    token = (True, None) if image and image.get("pool") == "cls" else (False, None)
    return {**_ACCEPTED, "image.class_token": token, **(_BERT if bert else _TEXT)}
