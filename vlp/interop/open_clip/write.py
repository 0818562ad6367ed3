"""A model as a folder that open_clip opens: `create_model_from_pretrained("local-dir:FOLDER")`."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from data_pipelines.tokens import ClipTokenizer, PipelineTokenizer, Tokenizer
from vlp.files import write_json
from vlp.interop.adapt import Params, complete
from vlp.interop.hf.tokenizer_write import write_tokenizer
from vlp.interop.hf.write import check_card, rounded, save_tensors
from vlp.interop.layout import write_tensors
from vlp.interop.loaded import Run, params_of, without_weights
from vlp.interop.open_clip.layout import CUSTOM, rules
from vlp.interop.open_clip.model_cfg import fit, model_cfg
from vlp.interop.open_clip.processing import OURS, tokenizer_settings, write_preprocess
from vlp.interop.open_clip.read import CONFIG
from vlp.interop.open_clip.resnet import counters
from vlp.interop.readme import write_readme
from vlp.interop.samples import EXAMPLE, EXAMPLE_TEXTS

WEIGHTS = "open_clip_model.safetensors"
_USAGE = f"""\
import open_clip
import torch
from PIL import Image

model, preprocess = open_clip.create_model_from_pretrained("local-dir:.")
model = model.eval()
picture = preprocess(Image.open("{EXAMPLE}"))[None]
{{texts}}
with torch.inference_mode():
    zimg = model.encode_image(picture, normalize=True)
    ztxt = model.encode_text(texts, normalize=True)
print(zimg @ ztxt.T)  # cosines: a row a picture, a column a text
"""
_TEXTS = f'texts = open_clip.get_tokenizer("local-dir:.")({list(EXAMPLE_TEXTS)})'
_NO_TOKENIZER = "texts = torch.ones(2, {length}, dtype=int)  # of your tokenizer: here is none"
_PICTURES = """\
Transparent pictures show their hidden colours in open_clip; flatten them first. Pictures turned
  by EXIF have to be turned upright first (`PIL.ImageOps.exif_transpose`)."""
_REPAIRED = """\
open_clip repairs texts before its tokenizers see them (ftfy, HTML entities, white space), which
  this model was trained without: `tokenizer.tokenizer` is what it was trained with."""


def write(
    run: Run, folder: Path, *, towers: str = "both", metrics: Mapping[str, float] | None = None
) -> None:
    """Writes everything but the parity report.

    Args:
        run: whose model, preprocessing and tokenizer to write.
        folder: an empty folder.
        towers: "both": open_clip has no models of one.
        metrics: figures for the README, by name.

    Raises:
        ValueError: open_clip cannot express the run; names the setting.
    """
    config, kwargs, params = _adapted(run.model.kwargs, params_of(run.model), towers=towers)
    check_card(run, kwargs)
    wanted, length = kwargs["text"]["length"], (run.card["tokenizer"] or {}).get("length")
    if run.tokenizer is not None and length != wanted:  # open_clip would make texts longer
        raise ValueError(
            f"tokenizer.length must be the model's text length {wanted} for open_clip, got "
            f"{length}; load with text_length={wanted}"
        )
    settings, extra = tokenizer_settings(run.tokenizer) if run.tokenizer is not None else ({}, {})
    config["text_cfg"] |= settings
    sections: dict[str, Any] = {
        "model_cfg": config,
        "preprocess_cfg": write_preprocess(preprocessing(run)),
        **({OURS: extra} if extra else {}),
    }
    write_json(folder / CONFIG, sections)
    if run.tokenizer is not None and "hf_tokenizer_name" in settings:
        write_tokenizer(_as_pipeline(run.tokenizer), folder, length=wanted, config={})
    text = CUSTOM if config["custom_text"] else ""
    trunk = "timm_model_name" in config["vision_cfg"]
    tensors = write_tensors(rules(kwargs, text=text, trunk=trunk), params)
    if kwargs["image"]["kind"] == "resnet":
        tensors |= counters(kwargs["image"]["layers"])
    save_tensors(tensors, folder / WEIGHTS, like=folder / CONFIG)
    texts = _NO_TOKENIZER.format(length=wanted)
    write_readme(
        run,
        folder,
        title="a model for open_clip",
        usage=_USAGE.format(texts=texts if run.tokenizer is None else _TEXTS),
        notes=[_PICTURES, *([_REPAIRED] if extra else [])],
        metrics=metrics,
    )


def _adapted(
    kwargs: Mapping[str, Any], params: Params, *, towers: str = "both"
) -> tuple[dict[str, Any], dict[str, Any], Params]:
    """The `model_cfg`, and the model in the shape that open_clip can hold."""
    full = complete(kwargs)
    if towers != "both" or not (full["image"] and full["text"]):
        raise ValueError(
            f'towers must be "both" for open_clip, whose models have two towers, got '
            f"{towers!r}; export to hf, or the image tower to timm"
        )
    kwargs, params = fit(full, params)
    return model_cfg(kwargs), kwargs, params


check_model = without_weights(_adapted)
# open_clip begins a centre at half a pixel at an even one.
preprocessing = partial(rounded, rounding="even")


def reader(folder: Path) -> Any:
    """The folder, opened by open_clip.

    Raises:
        ImportError: torch or open_clip cannot be imported.
    """
    try:
        from vlp.interop.open_clip.oracle import OpenClipReader
    except RuntimeError as error:  # a torchvision for another torch
        raise ImportError(str(error)) from error
    return OpenClipReader(folder)


def _as_pipeline(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer without its cleaning, which open_clip does before."""
    if isinstance(tokenizer, ClipTokenizer):
        raise ValueError(
            f"CLIP's tokenizer must pad with 0 for open_clip, got pad_id={tokenizer.pad_id}"
        )
    if isinstance(tokenizer, PipelineTokenizer):
        settings = {**tokenizer.settings, "clean": "none"}
        return PipelineTokenizer(tokenizer.content, name=tokenizer.name, **settings)
    return tokenizer
