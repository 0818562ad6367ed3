"""open_clip's models by name, for weights that come without an open_clip_config.json.

The names follow a rule: size, patch, then what differs. These are the sizes that go into it; a
sentence in front of each table says where in open_clip's `model_configs` they stand.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from vlp.interop.hf.clip import MEAN, STD

Sizes = tuple[int, int, int, float]
# Image tower: width, layers, width of a head, ratio of the perceptrons. Text tower, with the
# embedding as wide: width, heads, layers.
_VIT: dict[str, tuple[Sizes, tuple[int, int, int]]] = {
    "S": ((384, 12, 64, 4.0), (384, 6, 12)),
    "S-alt": ((384, 12, 64, 4.0), (256, 4, 10)),
    "M": ((512, 12, 64, 4.0), (512, 8, 12)),
    "M-alt": ((512, 12, 64, 4.0), (384, 6, 12)),
    "B": ((768, 12, 64, 4.0), (512, 8, 12)),
    "B-plus": ((896, 12, 64, 4.0), (640, 10, 12)),
    "L": ((1024, 24, 64, 4.0), (768, 12, 12)),
    "H": ((1280, 32, 80, 4.0), (1024, 16, 24)),
    "g": ((1408, 40, 88, 4.3637), (1024, 16, 24)),
    "bigG": ((1664, 48, 104, 4.9231), (1280, 20, 32)),
    "e": ((1792, 56, 112, 8.5715), (1280, 20, 36)),
}
# Layers, width, image size; width and heads of the text tower, and of the embedding.
_RESNET: dict[str, tuple[list[int], int, int, int, int, int]] = {
    "RN50": ([3, 4, 6, 3], 64, 224, 512, 8, 1024),
    "RN101": ([3, 4, 23, 3], 64, 224, 512, 8, 512),
    "RN50x4": ([4, 6, 10, 6], 80, 288, 640, 10, 640),
    "RN50x16": ([6, 8, 18, 8], 96, 384, 768, 12, 768),
    "RN50x64": ([3, 15, 36, 10], 128, 448, 1024, 16, 1024),
}
# timm's name of the image tower; width, heads, layers and ratio of the text tower; the embedding.
_SIGLIP: dict[str, tuple[str, tuple[int, int, int, float], int]] = {
    "B": ("base", (768, 12, 12, 4.0), 768),
    "L": ("large", (1024, 16, 24, 4.0), 1024),
    "SO400M": ("so400m", (1152, 16, 27, 3.7362), 1152),
    "gopt": ("giantopt", (1152, 16, 27, 3.7362), 1536),
}
# What of the image and text sections differs in models of the same sizes.
_KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "": ({}, {}),
    "CLIPA": (
        dict(no_ln_pre=True, pool_type="avg", final_ln_after_pool=True),
        dict(
            context_length=32, vocab_size=32000, hf_tokenizer_name="bert-base-uncased",
            tokenizer_kwargs={"strip_sep_token": True}, pool_type="last", no_causal_mask=True,
        ),
    ),
    "worldwide": (
        {},
        dict(
            hf_tokenizer_name="facebook/xlm-v-base", pool_type="eos", eos_id=2, vocab_size=901629
        ),
    ),
}  # fmt: skip
_MT5 = dict(
    hf_tokenizer_name="google/mt5-base", eos_id=1, tokenizer_kwargs={"clean": "canonicalize"},
    vocab_size=250100,
)  # fmt: skip
# What pictures go through, by open_clip's `pretrained.py`.
_PIXELS: dict[str, Any] = dict(mean=MEAN, std=STD)
_SIGLIP_PIXELS: dict[str, Any] = dict(mean=0.5, std=0.5, resize_mode="squash")
_CLIPA_PIXELS: dict[str, Any] = dict(
    mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), resize_mode="squash",
    interpolation="bilinear",
)  # fmt: skip
_NAME = re.compile(
    r"(coca_)?ViT-([A-Za-z0-9]+)-(\d+)(-alt|-plus)?"
    r"(?:-(CLIPA|worldwide|SigLIP2?(?:-i18n)?))?(?:-(\d+))?"
)


def find(name: str) -> dict[str, Any]:
    """What an open_clip_config.json of this model says: `model_cfg` and `preprocess_cfg`.

    Raises:
        ValueError: no such name; says what names there are.
    """
    base = name.removesuffix("-quickgelu")
    quick = {"quick_gelu": True} if base != name else {}
    if base in _RESNET:
        return dict(model_cfg=_resnet(base) | quick, preprocess_cfg=_PIXELS)
    match = _NAME.fullmatch(base)
    if match is None:
        raise _unknown(name)
    coca, size, patches, more, kind, sides = (group or "" for group in match.groups())
    patch, side = int(patches), int(sides or 224)
    if kind.startswith("SigLIP"):
        if coca or more or quick or size not in _SIGLIP:
            raise _unknown(name)
        model_cfg = _siglip(size, patch=patch, side=side, kind=kind)
        return dict(model_cfg=model_cfg, preprocess_cfg=_SIGLIP_PIXELS)
    if size + more not in _VIT or not patch:
        raise _unknown(name)
    model_cfg = _vit(size + more, patch=patch, side=side, kind=kind) | quick
    pixels = _CLIPA_PIXELS if kind == "CLIPA" else _PIXELS
    return dict(model_cfg=_coca(model_cfg) if coca else model_cfg, preprocess_cfg=pixels)


def fitting(shapes: Mapping[str, tuple[int, ...]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Names and configs of the models that a file may hold, by the widths of its tensors.

    Args:
        shapes: of all tensors, by open_clip's names.
    """
    convolution = shapes.get("visual.conv1.weight", ())
    if "visual.layer1.0.conv1.weight" in shapes:
        names = [name for name, row in _RESNET.items() if 2 * convolution[0] == row[1]]
    elif "visual.class_embedding" in shapes and convolution:
        width, patch = convolution[0], convolution[-1]
        places = shapes.get("visual.positional_embedding", (1,))[0] - 1
        side = round(places**0.5) * patch
        front = "coca_" if "visual.attn_pool.query" in shapes else ""
        tail = "" if side == 224 else str(side)
        names = [
            "-".join(filter(None, (f"{front}ViT", first, str(patch), *more, kind, tail)))
            for size, (image, _) in _VIT.items()
            if image[0] == width
            for first, *more in [size.split("-")]  # the patch stands inside: B, 16, plus
            for kind in _KINDS
        ]
    else:
        names = []
    for name in names:
        for suffix in ("", "-quickgelu"):
            yield name + suffix, find(name + suffix)


def _unknown(name: str) -> ValueError:
    return ValueError(
        f"arch must be open_clip's name of a model, got {name!r}; known are ViT-SIZE-PATCH with a "
        f"size of {', '.join(_VIT)}, such as ViT-B-32 or ViT-L-14-336-quickgelu, with -CLIPA, "
        "-worldwide, -SigLIP or -SigLIP2 behind it, coca_ViT-B-32 and the like, and "
        f"{', '.join(_RESNET)}; or give a .json file with its model_cfg"
    )


def _vit(size: str, *, patch: int, side: int, kind: str) -> dict[str, Any]:
    (width, layers, head_width, ratio), (text_width, heads, text_layers) = _VIT[size]
    image, text = _KINDS[kind]
    text = dict(width=text_width, heads=heads, layers=text_layers, **text)
    if kind == "worldwide" and size == "L":
        text |= _MT5
    scaled = {"ls_init_value": 1e-4} if (size, patch) == ("M-alt", 16) else {}
    return dict(
        embed_dim=text_width,
        vision_cfg=dict(
            image_size=side, patch_size=patch, width=width, layers=layers, head_width=head_width,
            mlp_ratio=ratio, **scaled, **image,
        ),
        text_cfg=text,
    )  # fmt: skip


def _coca(cfg: dict[str, Any]) -> dict[str, Any]:
    text = dict(cfg["text_cfg"], context_length=76)
    return cfg | dict(
        custom_text=True,
        vision_cfg=cfg["vision_cfg"] | dict(attentional_pool=True, attn_pooler_heads=8),
        text_cfg=text | dict(embed_cls=True),
        multimodal_cfg=text,
    )


def _resnet(name: str) -> dict[str, Any]:
    layers, width, side, text_width, heads, embed_dim = _RESNET[name]
    return dict(
        embed_dim=embed_dim,
        vision_cfg=dict(image_size=side, layers=layers, width=width, patch_size=None),
        text_cfg=dict(width=text_width, heads=heads, layers=12),
    )


def _siglip(size: str, *, patch: int, side: int, kind: str) -> dict[str, Any]:
    tower, (width, heads, layers, ratio), embed_dim = _SIGLIP[size]
    second, languages = kind.startswith("SigLIP2"), kind.endswith("-i18n")
    text: dict[str, Any] = dict(
        context_length=16 if (size, patch, side, second) == ("SO400M", 14, 224, False) else 64,
        vocab_size=256000 if second else 250000 if languages else 32000,
        hf_tokenizer_name=f"timm/ViT-{size}-{patch}-{kind}",
        tokenizer_kwargs={"clean": "canonicalize"},
        width=width, heads=heads, layers=layers, mlp_ratio=ratio,
        no_causal_mask=True, pool_type="last", norm_kwargs={"eps": 1e-6},
    )  # fmt: skip
    projection = dict(proj_type="none") if languages and size == "SO400M" else dict(proj_bias=True)
    tanh = dict(act_kwargs={"approximate": "tanh"}) if second else {}
    return dict(
        embed_dim=embed_dim,
        init_logit_bias=-10,
        custom_text=True,
        vision_cfg=dict(
            image_size=side, timm_model_name=f"vit_{tower}_patch{patch}_siglip_{side}",
            timm_pool="map", timm_proj="none",
        ),
        text_cfg=text | projection | tanh,
    )  # fmt: skip
