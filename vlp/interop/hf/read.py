"""A folder of transformers: which class it is of, and what is in it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from data_pipelines.images import ImagePreprocess
from data_pipelines.naflex import NaflexPreprocess
from vlp.interop.adapt import complete
from vlp.interop.checks import understood
from vlp.interop.foreign import Foreign, say_usual
from vlp.interop.hf import bert, blip, blip2, clip, dual, siglip, vit
from vlp.interop.hf.processors import PLAIN, read_preprocess
from vlp.interop.hf.tokenizers import read_tokenizer
from vlp.interop.pickles import PICKLES
from vlp.interop.tensors import Tensors
from vlp.interop.weights import find_weights, read_json_object

# model_type of config.json: the module that knows the class.
CLASSES: dict[str, ModuleType] = {
    **{
        f"{kind}{tower}": module
        for kind, module in (("clip", clip), ("siglip", siglip), ("siglip2", siglip))
        for tower in ("", "_vision_model", "_text_model")
    },
    "vision-text-dual-encoder": dual,
    "vit": vit,
    "bert": bert,
    "blip": blip,
    "blip-2": blip2,
}
WEIGHTS = ("model.safetensors", *(f"pytorch_model{suffix}" for suffix in PICKLES))
_PROJECTIONS = ("visual_projection.", "text_projection.")


def open_path(path: Path, *, read: Callable[[Path], Tensors]) -> Foreign:
    """What a folder with config.json and weights holds.

    Args:
        path: the folder, as transformers' `save_pretrained` writes it, or weights in it.
        read: opens the file of weights.

    Raises:
        ValueError: the architecture is not known, or a file is missing or damaged.
    """
    folder = path.parent if path.is_file() else path
    config = read_json_object(folder / "config.json")
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in CLASSES:
        raise ValueError(
            f"model_type in {folder / 'config.json'} must be one of {', '.join(CLASSES)}, "
            f"got {kind!r}"
        )
    module = CLASSES[kind]
    found = read(path if path.is_file() else find_weights(folder, WEIGHTS))
    tensors = module.cleared(found.renamed(lambda name: _with_prefix(name, kind)))
    with understood(folder / "config.json", stack="transformers"):
        architecture = (config.get("architectures") or [kind])[0]
        kwargs = module.kwargs(config, tensors)
        full = complete(kwargs)
    preprocess = read_preprocess(folder)
    if preprocess is None and kwargs["image"]:
        preprocess = default_preprocess(kwargs, module)
        say_usual(preprocess, source=folder, lacks=PLAIN, stack=f"transformers' {architecture}")
    if preprocess is not None:
        kwargs |= dict(image_mean=list(preprocess.mean), image_std=list(preprocess.std))
    return Foreign(
        stack="hf",
        architecture=architecture,
        kwargs=kwargs,
        rules=module.rules(full),
        tensors=tensors,
        preprocess=preprocess,
        tokenizer=read_tokenizer(folder) if kwargs["text"] else None,
        objective=module.OBJECTIVE,
    )


def default_preprocess(kwargs: Mapping[str, Any], module: ModuleType) -> Any:
    """What the class's own image processor does where a folder brings no configuration of it."""
    image, colours = kwargs["image"], dict(mean=module.MEAN, std=module.STD)
    if image.get("kind") == "naflex":
        return NaflexPreprocess(
            patch_size=image["patch_size"], max_num_patches=image["num_patches"], **colours
        )
    resize = "shortest" if module is clip else "squash"
    interpolation = "bilinear" if module in (vit, dual) else "bicubic"
    return ImagePreprocess(
        image["image_size"], resize=resize, interpolation=interpolation, **colours
    )


def _with_prefix(name: str, kind: str) -> str:
    """Towers alone are saved with or without the prefix that they have in the whole model."""
    tower = next((t for t in ("vision_model", "text_model") if kind.endswith(f"_{t}")), None)
    if tower is None or name.startswith((f"{tower}.", *_PROJECTIONS)):
        return name
    return f"{tower}.{name}"
