"""An image tower as a folder that timm opens: `timm.create_model("local-dir:FOLDER")`."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from vlp.files import write_json
from vlp.interop.adapt import Params, adapt, complete, only_tower
from vlp.interop.hf.write import check_card, rounded, save_tensors
from vlp.interop.layout import write_tensors
from vlp.interop.loaded import Run, params_of, without_weights
from vlp.interop.readme import write_readme
from vlp.interop.samples import EXAMPLE
from vlp.interop.timm.config import model_args, pretrained_cfg
from vlp.interop.timm.read import rules

TOWER = "image"  # all that timm has
_USAGE = f"""\
import timm
import torch
from PIL import Image

model = timm.create_model("local-dir:.", pretrained=True).eval()
transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
picture = transform(Image.open("{EXAMPLE}").convert("RGB"))[None]
with torch.inference_mode():
    zimg = torch.nn.functional.normalize(model(picture), dim=-1)
print(zimg)
"""
_PICTURES = """\
Transparent pictures show their hidden colours in timm; flatten them first. Pictures turned by EXIF
  have to be turned upright first (`PIL.ImageOps.exif_transpose`)."""


def write(
    run: Run, folder: Path, *, towers: str = "both", metrics: Mapping[str, float] | None = None
) -> None:
    """Writes the image tower; everything but the parity report.

    Args:
        run: whose model and preprocessing to write.
        folder: an empty folder.
        towers: "image", or "both" for all that timm has: the same.
        metrics: figures for the README, by name.

    Raises:
        ValueError: timm cannot express the tower; names the setting.
    """
    model = run.model
    (name, args), kwargs, params = _adapted(model.kwargs, params_of(model), towers=towers)
    check_card(run, kwargs)
    image, projected = kwargs["image"], kwargs["image_projection"] == "linear_bias"
    classes = kwargs["embed_dim"] if projected else 0
    config: dict[str, Any] = {
        "architecture": name,
        "num_classes": classes,
        "num_features": image["width"],
        "global_pool": args["global_pool"],
        "model_args": args,
        "pretrained_cfg": pretrained_cfg(preprocessing(run), num_classes=classes),
        **({"vlp": {"head": "projection"}} if projected else {}),
    }
    write_json(folder / "config.json", config)
    tensors = write_tensors(rules(kwargs), params)
    save_tensors(tensors, folder / "model.safetensors", like=folder / "config.json")
    title, notes = "an image tower for timm", [_PICTURES]
    write_readme(run, folder, title=title, usage=_USAGE, notes=notes, metrics=metrics)


def _adapted(
    kwargs: Mapping[str, Any], params: Params, *, towers: str = "both"
) -> tuple[tuple[str, dict[str, Any]], dict[str, Any], Params]:
    """The architecture and its arguments, and the image tower in the shape that timm can hold."""
    if towers == "text":
        raise ValueError('towers must be "image" for timm, which has no text towers, got "text"')
    kwargs, params = only_tower(complete(kwargs), params, towers="image")
    kwargs, params = adapt(kwargs, params, accepted=_accepted(kwargs), stack="timm")
    return model_args(kwargs["image"]), kwargs, params


check_model = without_weights(_adapted)
# timm begins a centre at half a pixel at the nearest even one.
preprocessing = partial(rounded, rounding="even")


def reader(folder: Path) -> Any:
    """The folder, opened by timm.

    Raises:
        ImportError: torch or timm cannot be imported.
    """
    try:
        from vlp.interop.timm.oracle import TimmReader
    except RuntimeError as error:  # a torchvision for another torch
        raise ImportError(str(error)) from error
    return TimmReader(folder)


def _accepted(kwargs: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    pre_norm = bool(kwargs["image"].get("pre_norm"))
    return {
        "image.kind": ("vit",),
        "image.pool": ("cls", "mean", "map"),
        "image.pooler": (False,),
        "image.norm_eps": (1e-6, 1e-5),
        "image.position": ("learned",),
        "image.patch_bias": (not pre_norm,),
        "image_projection": ("none", "linear_bias"),
    }
