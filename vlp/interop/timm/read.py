"""A folder of timm: a vision transformer, its weights and its evaluation transform."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from vlp.interop.adapt import complete
from vlp.interop.checks import understood
from vlp.interop.foreign import Foreign, say_usual
from vlp.interop.layout import Rule
from vlp.interop.pickles import PICKLES
from vlp.interop.surplus import Surplus, settle
from vlp.interop.tensors import Tensors
from vlp.interop.timm import config as timm_config
from vlp.interop.timm.layout import head_rules, image_rules
from vlp.interop.weights import find_weights, read_json_object

WEIGHTS = ("model.safetensors", *(f"pytorch_model{s}" for s in PICKLES), "model.pth")
_HEAD = Surplus(r"head\..*", "a head of class scores, of which an encoder has none")


def open_path(path: Path, *, read: Callable[[Path], Tensors]) -> Foreign:
    """What a folder with config.json and weights holds: an image tower alone.

    The head of CLIP's image towers is their projection and becomes `image_projection`; a head of
    class scores is left out, for an encoder needs none.

    Args:
        path: the folder, as timm's `save_for_hf` and `vlp export` write it, or weights in it.
        read: opens the file of weights.

    Raises:
        ValueError: the architecture is not known, or a file is missing or damaged.
    """
    folder = path.parent if path.is_file() else path
    config = read_json_object(folder / "config.json")
    with understood(folder / "config.json", stack="timm"):
        name = str(config.get("architecture", "")).partition(".")[0]
        data = config.get("pretrained_cfg") or config
        args = dict(config.get("model_args") or {})
        if "img_size" not in args and data.get("fixed_input_size", False):
            args["img_size"] = tuple(data["input_size"])[1:]
        image = timm_config.image_kwargs(name, args, global_pool=config.get("global_pool"))
        classes = args.get("num_classes", config.get("num_classes", data.get("num_classes", 0)))
        marked = (config.get("vlp") or {}).get("head") == "projection"
        projected = timm_config.is_projection(name, classes, marked=marked)
        preprocess = timm_config.preprocess(data, size=image["image_size"])
        if not (data.get("mean") and data.get("std")):
            lacks = "mean and std in its pretrained_cfg"
            say_usual(preprocess, source=folder / "config.json", lacks=lacks, stack="timm")
        kwargs: dict[str, Any] = dict(
            image=image,
            text=None,
            embed_dim=classes if projected else image["width"],
            image_projection="linear_bias" if projected else "none",
            image_mean=list(preprocess.mean),
            image_std=list(preprocess.std),
        )
        full = complete(kwargs)
    found = read(path if path.is_file() else find_weights(folder, WEIGHTS))
    return Foreign(
        stack="timm",
        architecture=name,
        kwargs=kwargs,
        rules=rules(full),
        tensors=settle(found, () if projected else (_HEAD,)),
        preprocess=preprocess,
        tokenizer=None,
        objective="clip",
        licence=data.get("license") or "unknown",
    )


def rules(kwargs: dict[str, Any]) -> list[Rule]:
    """The names of tensors for complete keyword arguments."""
    head = head_rules() if kwargs["image_projection"] == "linear_bias" else []
    return [*image_rules(kwargs["image"]), *head]
