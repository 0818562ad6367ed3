"""A folder or a file of open_clip: model, preprocessing and tokenizer, by open_clip_config.json."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vlp.interop.adapt import complete
from vlp.interop.checks import understood
from vlp.interop.foreign import Foreign, say_usual
from vlp.interop.layout import Rule, tensor_shapes
from vlp.interop.loaded import param_shapes
from vlp.interop.open_clip import architectures
from vlp.interop.open_clip import config as open_clip_config
from vlp.interop.open_clip.layout import CUSTOM, rules
from vlp.interop.open_clip.processing import OURS, open_tokenizer_of, read_preprocess
from vlp.interop.open_clip.resnet import COUNTER
from vlp.interop.pickles import PICKLES
from vlp.interop.surplus import Surplus, causal, counted, settle
from vlp.interop.tensors import Tensors
from vlp.interop.weights import find_weights, read_json_object

CONFIG = "open_clip_config.json"
WEIGHTS = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    *(f"open_clip_pytorch_model{suffix}" for suffix in PICKLES),
    "model.safetensors",
    *(f"pytorch_model{suffix}" for suffix in PICKLES),
    "model.pth",
)
# Numbers that OpenAI's own files hold among the weights, and ours for them. No others do.
_NUMBERS = {
    "input_resolution": ("image", "image_size"),
    "context_length": ("text", "length"),
    "vocab_size": ("text", "vocab_size"),
}
_BUFFERS = (
    causal(r"(.*\.)?attn_mask"),
    counted(r"(.*\.)?position_ids"),
    Surplus(rf".*\.{COUNTER}", "a count of training batches", lambda *_: True),
)
# How the names of other files begin, and what to do with them.
_OTHERS = {
    "vision_model.": "they are transformers' names: put its config.json beside the file",
    "text_model.": "they are transformers' names: put its config.json beside the file",
    "visual_encoder.": "they are those of ALBEF's or BLIP's authors: put albef: or blip: in front",
    "text_encoder.": "they are those of ALBEF's or BLIP's authors: put albef: or blip: in front",
    "blocks.": "they are timm's: put its config.json beside the file",
}


def open_path(path: Path, *, read: Callable[[Path], Tensors], arch: str | None = None) -> Foreign:
    """What a folder with open_clip_config.json, or a file of weights, holds.

    The weights may be those of `CLIP` or of `CustomTextCLIP`, whatever the config says: the names
    of tensors tell.

    Args:
        path: the folder, or the file.
        read: opens the file of weights.
        arch: open_clip's name of the model, or a .json file with its `model_cfg`, in place of the
            config beside the weights. Where neither is there, the shapes of the tensors tell if
            they are those of one known model alone.

    Raises:
        ValueError: the architecture is not known, or a file is missing or damaged.
    """
    folder = path.parent if path.is_file() else path
    found = None
    if arch is None and (folder / CONFIG).is_file():
        whole, source = read_json_object(folder / CONFIG), str(folder / CONFIG)
    else:
        found = read(path if path.is_file() else find_weights(folder, WEIGHTS))
        name, source = arch or _only_architecture(found), str(arch or path)
        by_file = name.endswith(".json")
        whole = read_json_object(Path(name)) if by_file else architectures.find(name)
    with understood(source, stack="open_clip"):
        model_cfg = whole.get("model_cfg", whole)
        kwargs = open_clip_config.kwargs(model_cfg)
        full = complete(kwargs)
        size = kwargs["image"]["image_size"]
        preprocess = read_preprocess(whole.get("preprocess_cfg") or {}, size=size)
        if not whole.get("preprocess_cfg"):
            say_usual(preprocess, source=source, lacks="preprocess_cfg", stack="open_clip")
        kwargs |= dict(image_mean=list(preprocess.mean), image_std=list(preprocess.std))
        cleaned = (whole.get(OURS) or {}).get("clean")
        tokenizer, hint = open_tokenizer_of(model_cfg["text_cfg"], folder, cleaned=cleaned)
    if found is None:
        found = read(path if path.is_file() else find_weights(folder, WEIGHTS))
    return Foreign(
        stack="open_clip",
        architecture=_architecture(model_cfg),
        kwargs=kwargs,
        rules=_rules(full, model_cfg, found),
        tensors=settle(found, (*_BUFFERS, *_numbers(kwargs))),
        preprocess=preprocess,
        tokenizer=tokenizer,
        objective="clip" if kwargs["init_bias"] is None else "siglip",
        tokenizer_hint=hint,
    )


def _only_architecture(tensors: Tensors) -> str:
    """The name of the one known model whose tensors these are.

    Raises:
        ValueError: there is none, or there are several; says what the tensors look like.
    """
    names = []
    for name, config in architectures.fitting(tensors.shapes):
        kwargs = open_clip_config.kwargs(config["model_cfg"])
        wanted = tensor_shapes(
            _rules(complete(kwargs), config["model_cfg"], tensors), param_shapes(kwargs)
        )
        if all(tensors.shapes.get(tensor) == shape for tensor, shape in wanted.items()):
            names.append(name)
    if names and _NUMBERS.keys() <= tensors.keys():  # all of OpenAI's have this activation
        names = [name for name in names if name.endswith("-quickgelu")]
    if len(names) == 1:
        return names[0]
    remedy = (
        f"put the {CONFIG} of these weights beside them, or give arch=NAME (--arch=NAME), "
        "open_clip's name of the model"
    )
    if names:
        raise ValueError(
            f"{tensors.source} has no {CONFIG} beside it, and its tensors are those of "
            f"{' and of '.join(names)}, which compute different things; {remedy}"
        )
    first = next(iter(tensors), "")
    other = next((hint for start, hint in _OTHERS.items() if first.startswith(start)), None)
    raise ValueError(
        f"{tensors.source} has no {CONFIG} beside it, and its tensors are those of no model that "
        f"is known here: {_looks(tensors)}; {other or remedy}"
    )


def _looks(tensors: Tensors) -> str:
    """What tells people which model it is."""
    kept = ("visual.conv1.weight", "visual.positional_embedding", "token_embedding.weight")
    shapes = {name: tensors.shapes[name] for name in kept if name in tensors}
    shapes = shapes or dict(list(tensors.shapes.items())[:3])
    return ", ".join(f"{name} {shape}" for name, shape in shapes.items())


def _rules(full: Mapping[str, Any], model_cfg: Mapping[str, Any], tensors: Tensors) -> list[Rule]:
    return rules(
        full,
        text=CUSTOM if f"{CUSTOM}token_embedding.weight" in tensors else "",
        trunk=bool(model_cfg["vision_cfg"].get("timm_model_name")),
        axes=len(tensors.shapes.get("logit_scale", ())),
    )


def _numbers(kwargs: Mapping[str, Any]) -> list[Surplus]:
    """OpenAI's numbers, which must be the config's."""
    wanted = {name: kwargs[tower][setting] for name, (tower, setting) in _NUMBERS.items()}

    def known(tensors: Mapping[str, np.ndarray], name: str) -> bool:
        return np.array_equal(np.ravel(tensors[name]), [wanted[name]])

    return [
        Surplus(name, f"{value}, as the configuration says", known)
        for name, value in wanted.items()
    ]


def _architecture(model_cfg: Mapping[str, Any]) -> str:
    if model_cfg.get("multimodal_cfg") is not None:
        return "CoCa"
    return "CustomTextCLIP" if model_cfg.get("custom_text") else "CLIP"
