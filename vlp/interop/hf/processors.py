"""Image processors of transformers: their configuration to our preprocessing, and back.

Where transformers 5 finds both, it takes the image processor nested in processor_config.json before
preprocessor_config.json, which version 4 reads; so do we. A value that is not there is the class's
own default.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data_pipelines.images import ImagePreprocess
from data_pipelines.naflex import NaflexPreprocess
from vlp.interop.checks import understood
from vlp.interop.hf.clip import MEAN, STD
from vlp.interop.weights import read_json_object

NESTED, PLAIN = "processor_config.json", "preprocessor_config.json"
# Pillow's numbers of its filters.
_RESAMPLE = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}
_NUMBER = {name: number for number, name in _RESAMPLE.items()}
_HALF = [0.5, 0.5, 0.5]
_CLIP = dict(image_mean=list(MEAN), image_std=list(STD))
_SQUARE = {"height": 224, "width": 224}
# What each class does where its configuration is silent.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "CLIPImageProcessor": {
        "resample": 3,
        **_CLIP,
        "size": {"shortest_edge": 224},
        "crop_size": _SQUARE,
        "do_center_crop": True,
        "default_to_square": False,
    },
    "SiglipImageProcessor": {"resample": 3, "size": _SQUARE, "default_to_square": False},
    "BlipImageProcessor": {
        "resample": 3,
        **_CLIP,
        "size": {"height": 384, "width": 384},
    },
    "ViTImageProcessor": {"resample": 2, "size": _SQUARE},
    "Siglip2ImageProcessor": {"resample": 2, "patch_size": 16, "max_num_patches": 256},
}
_COMMON: dict[str, Any] = {
    "image_mean": _HALF,
    "image_std": _HALF,
    "do_resize": True,
    "do_center_crop": False,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "do_pad": False,
    "default_to_square": True,
}
_OF_TYPE = {
    "clip": ("CLIPImageProcessor", "CLIPProcessor"),
    "siglip": ("SiglipImageProcessor", "SiglipProcessor"),
    "siglip2": ("Siglip2ImageProcessor", "Siglip2Processor"),
    "blip": ("BlipImageProcessor", "BlipProcessor"),
    "blip-2": ("BlipImageProcessor", "Blip2Processor"),
    "vit": ("ViTImageProcessor", None),
    "vision-text-dual-encoder": ("ViTImageProcessor", "VisionTextDualEncoderProcessor"),
}


def read_preprocess(folder: str | Path) -> ImagePreprocess | NaflexPreprocess | None:
    """The preprocessing that a folder of transformers describes; None where it describes none.

    Raises:
        ValueError: an unknown class, or steps that have no counterpart here; names them.
    """
    folder = Path(folder)
    nested, alone, model = (
        read_json_object(folder / name, optional=True) for name in (NESTED, PLAIN, "config.json")
    )
    config = nested.get("image_processor") or alone
    if not config:
        return None
    with understood(f"the image processor in {folder}", stack="transformers"):
        return preprocess_of(config, model_type=model.get("model_type", ""), source=str(folder))


def preprocess_of(
    config: Mapping[str, Any], *, model_type: str = "", source: str = "the folder"
) -> ImagePreprocess | NaflexPreprocess:
    """The preprocessing of an image processor's configuration.

    Args:
        config: content of preprocessor_config.json.
        model_type: of config.json; decides on the class where `config` does not name it.
        source: what messages call the place it came from.

    Raises:
        ValueError: an unknown class, or steps that have no counterpart here; names them.
    """
    name = _class(config, model_type)
    if name not in _DEFAULTS:
        raise ValueError(
            f"image_processor_type in {source} must be one of {', '.join(_DEFAULTS)}; got {name!r}"
        )
    given = {key: value for key, value in config.items() if value is not None}
    values = _COMMON | _DEFAULTS[name] | given
    demands = {
        "do_resize": bool(values["do_resize"]),
        "do_rescale": bool(values["do_rescale"]),
        "rescale_factor": math.isclose(values["rescale_factor"], 1 / 255, rel_tol=1e-6),
        "do_pad": not values["do_pad"],
        "resample": values["resample"] in _RESAMPLE,
    }
    wrong = [key for key, met in demands.items() if not met]
    if wrong:
        found = ", ".join(f"{key}={values[key]}" for key in wrong)
        raise ValueError(
            f"the image processor in {source} must resize, scale by 1/255 and add no borders, got "
            f"{found}; give the preprocessing yourself, as data_pipelines.images.ImagePreprocess"
        )
    normalises = values["do_normalize"]
    shared: dict[str, Any] = {
        "interpolation": _RESAMPLE[values["resample"]],
        "mean": values["image_mean"] if normalises else [0.0, 0.0, 0.0],
        "std": values["image_std"] if normalises else [1.0, 1.0, 1.0],
    }
    if name == "Siglip2ImageProcessor":
        patches = {key: values[key] for key in ("patch_size", "max_num_patches")}
        return NaflexPreprocess(**patches, **shared)
    return ImagePreprocess(**_geometry(values, source), **shared, fill=(0, 0, 0))


def processor_config(
    preprocess: ImagePreprocess | NaflexPreprocess, model_type: str
) -> dict[str, Any]:
    """The content of `preprocessor_config.json`.

    transformers begins a centre at the pixel before, so a `rounding` of "even" is off by up to one
    pixel for some shapes: `preprocess_of` this configuration says what it does. Behind transparent
    pixels it puts white.

    Args:
        preprocess: what to describe.
        model_type: of config.json.

    Raises:
        ValueError: the preprocessing has no counterpart in transformers.
    """
    if model_type not in _OF_TYPE:
        raise ValueError(f"model_type must be one of {', '.join(_OF_TYPE)}; got {model_type!r}")
    if isinstance(preprocess, ImagePreprocess):
        preprocess = preprocess.portable
    if preprocess.interpolation not in _NUMBER:
        raise ValueError(
            f"an exported preprocess.interpolation must be one of {', '.join(_NUMBER)}, got "
            f"{preprocess.interpolation!r}, which transformers has not; export with 'bilinear'"
        )
    name, processor = _OF_TYPE[model_type]
    if isinstance(preprocess, NaflexPreprocess):
        name = "Siglip2ImageProcessor"
        steps = {key: getattr(preprocess, key) for key in ("patch_size", "max_num_patches")}
    else:
        steps = _square_steps(preprocess)
        if steps["do_center_crop"] or name == "Siglip2ImageProcessor":
            name = "CLIPImageProcessor"  # the only one that can crop, in version 4 as well
    return {
        "image_processor_type": name,
        **({"processor_class": processor} if processor else {}),
        "do_convert_rgb": True,
        "do_resize": True,
        "resample": _NUMBER[preprocess.interpolation],
        **steps,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(preprocess.mean),
        "image_std": list(preprocess.std),
    }


def processor_class(model_type: str) -> str | None:
    """The processor that joins an image processor and a tokenizer; None for single towers."""
    return _OF_TYPE.get(model_type, (None, None))[1]


def _square_steps(preprocess: ImagePreprocess) -> dict[str, Any]:
    if preprocess.resize == "longest":
        raise ValueError(
            "an exported preprocess.resize must be 'squash' or 'shortest', got 'longest': "
            "transformers' image processors add no borders; keep to vlp.load or train with 'squash'"
        )
    size, between = preprocess.size, preprocess.resize_size
    if between < size and preprocess.fill != (0, 0, 0):
        raise ValueError(
            f"an exported preprocess.fill must be black where the picture is smaller ({between}) "
            f"than the output ({size}), got {preprocess.fill}; export with fill=(0, 0, 0)"
        )
    shortest = preprocess.resize == "shortest"
    return {
        "size": {"shortest_edge": between} if shortest else {"height": between, "width": between},
        "do_center_crop": shortest or between != size,
        "crop_size": {"height": size, "width": size},
    }


def _class(config: Mapping[str, Any], model_type: str) -> str:
    """The class that a configuration means, by its name in version 4."""
    named = config.get("image_processor_type") or config.get("feature_extractor_type")
    named = named or _OF_TYPE.get(model_type, (None, None))[0] or ""
    named = named.replace("FeatureExtractor", "ImageProcessor")
    return named.removesuffix("Fast").removesuffix("Pil")


def _geometry(values: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Sizes and the way of resizing."""
    resized = _size(values["size"], to_square=values["default_to_square"])
    cropped = _size(values["crop_size"], to_square=True) if values["do_center_crop"] else resized
    shortest = resized.keys() == {"shortest_edge"}
    sides = {*resized.values()}, {*cropped.values()}
    if (
        not (shortest or resized.keys() == {"height", "width"})
        or cropped.keys() != {"height", "width"}
        or max(map(len, sides)) > 1
    ):
        raise ValueError(
            f"the image processor in {source} must give squares: size of one shortest_edge with a "
            "square crop_size, or a square size; got "
            f"size={values['size']}, do_center_crop={values['do_center_crop']}, "
            f"crop_size={values.get('crop_size')}; give the preprocessing yourself"
        )
    return {
        "size": sides[1].pop(),
        "resize": "shortest" if shortest else "squash",
        "resize_size": sides[0].pop(),
    }


def _size(size: Any, *, to_square: bool) -> dict[str, int]:
    """A size in any of the forms that transformers has written, in today's."""
    if isinstance(size, int):
        return {"height": size, "width": size} if to_square else {"shortest_edge": size}
    if isinstance(size, list | tuple):
        return dict(zip(("height", "width"), size, strict=True))
    return {key: value for key, value in size.items() if value is not None}
