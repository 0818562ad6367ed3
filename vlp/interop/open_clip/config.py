"""open_clip's `model_cfg`, to our keyword arguments."""

import math
from collections.abc import Mapping
from typing import Any

from vlp.interop.timm.config import image_kwargs, square

NORM_EPS = 1e-5  # of PyTorch's LayerNorm, unless norm_kwargs say otherwise

# What its dataclasses assume where a config says nothing.
VISION: dict[str, Any] = dict(
    layers=12, width=768, head_width=64, mlp_ratio=4.0, patch_size=16, image_size=224,
    ls_init_value=None, attentional_pool=False, attn_pooler_queries=256, attn_pooler_heads=8,
    no_ln_pre=False, pos_embed_type="learnable", final_ln_after_pool=False, pool_type="tok",
    act_kwargs=None, norm_kwargs=None, timm_model_name=None, timm_pool="avg",
    timm_proj="linear", timm_proj_bias=False,
)  # fmt: skip
TEXT: dict[str, Any] = dict(
    context_length=77, vocab_size=49408, hf_tokenizer_name=None, tokenizer_mode=None,
    tokenizer_kwargs=None, width=512, heads=8, layers=12, mlp_ratio=4.0, ls_init_value=None,
    embed_cls=False, pad_id=0, eos_id=2, no_causal_mask=False, pool_type="argmax",
    proj_bias=False, proj_type="linear", act_kwargs=None, norm_kwargs=None, hf_model_name=None,
)  # fmt: skip
_MODEL = dict(
    embed_dim=512, quick_gelu=False, custom_text=False, init_logit_scale=math.log(1 / 0.07),
    init_logit_bias=None, multimodal_cfg=None,
)  # fmt: skip
# Settings of training, and those that open_clip itself never looks at.
_UNUSED = frozenset((
    "patch_dropout", "output_tokens", "timm_model_pretrained", "timm_drop", "timm_drop_path",
    "hf_model_pretrained", "hf_proj_type", "hf_pooler_type", "block_type", "vision_cfg",
    "text_cfg", "nonscalar_logit_scale",
))  # fmt: skip
# Parts of blocks that these towers have not.
_OFF = (
    "qk_norm",
    "scaled_cosine_attn",
    "scale_heads",
    "scale_attn_inner",
    "scale_attn",
    "scale_fc",
)
_TEXT_POOLS = {"argmax": "argmax", "eos": "eot", "first": "first", "last": "last"}
_TIMM_POOLS = ("token", "avg", "map")


def kwargs(model_cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments of `DualEncoder`, or of `CoCa` for a config with a decoder.

    Raises:
        ValueError: the config asks for what the towers here have not; names it.
    """
    model = _settings("model_cfg", model_cfg, _MODEL)
    vision = _settings("vision_cfg", model_cfg.get("vision_cfg"), VISION)
    text = _settings("text_cfg", model_cfg.get("text_cfg"), TEXT, unused=("final_ln_after_pool",))
    image, image_projection = _image(vision, model)
    projection = "linear_bias" if text["proj_bias"] else "linear"
    decoder, bias = model["multimodal_cfg"], model["init_logit_bias"]
    return dict(
        image=image,
        text=_text(text, model),
        embed_dim=model["embed_dim"],
        image_projection=image_projection,
        text_projection="none" if text["proj_type"] == "none" else projection,
        init_scale=math.exp(model["init_logit_scale"]),
        init_bias=None if bias is None else float(bias),
        **({} if decoder is None else {"decoder": _decoder(decoder, text, model, image)}),
    )


def _image(vision: Mapping[str, Any], model: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """The image tower and its projection."""
    if vision["timm_model_name"]:
        return _timm(vision)
    size = square(vision["image_size"], "image_size")
    if isinstance(vision["layers"], list | tuple):
        resnet = dict(
            kind="resnet",
            image_size=size,
            layers=list(vision["layers"]),
            output_dim=model["embed_dim"],
            width=vision["width"],
            num_heads=vision["width"] * 32 // vision["head_width"],
        )
        return resnet, "none"
    return _vit(vision, model) | dict(image_size=size), "linear"


def _vit(vision: Mapping[str, Any], model: Mapping[str, Any]) -> dict[str, Any]:
    _refuse(vision, "vision_cfg", pool_type=("tok", "avg"), attentional_pool=(False, None, True))
    _refuse(vision, "vision_cfg", pos_embed_type=("learnable", "sin_cos_2d"))
    norm_eps = _norm_eps(vision)
    pool: dict[str, Any] = dict(
        pool="cls" if vision["pool_type"] == "tok" else "mean",
        norm_after_pool=vision["final_ln_after_pool"],
    )
    if vision["attentional_pool"]:
        _refuse(vision, "vision_cfg with attentional_pool", pool_type=("tok",))
        if norm_eps != NORM_EPS:
            raise ValueError(f"attentional_pool needs norm_kwargs without eps, got {norm_eps}")
        queries = dict(
            width=model["embed_dim"],
            num_queries=vision["attn_pooler_queries"],
            num_heads=vision["attn_pooler_heads"],
        )
        pool = dict(pool="queries", queries=queries)
    return dict(
        patch_size=square(vision["patch_size"], "patch_size"),
        width=vision["width"],
        depth=vision["layers"],
        num_heads=vision["width"] // vision["head_width"],
        mlp_dim=int(vision["width"] * vision["mlp_ratio"]),
        class_token=True,
        pre_norm=not vision["no_ln_pre"],
        patch_bias=False,
        layer_scale=vision["ls_init_value"],
        activation=_activation(vision, model),
        norm_eps=norm_eps,
        **pool,
    )


def _timm(vision: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    pool, proj = vision["timm_pool"], vision["timm_proj"]
    image = image_kwargs(vision["timm_model_name"], {})
    if proj not in (None, "", "none", "linear"):
        raise ValueError(f"timm_proj must be null, none or linear to be read here, got {proj!r}")
    if proj == "linear":
        # The pooling is changed after the tower is made, which would leave norms behind.
        if pool and image_kwargs(vision["timm_model_name"], {}, global_pool=pool) != image:
            raise ValueError(f"timm_pool must be that of the tower with timm_proj, got {pool!r}")
        if vision["timm_proj_bias"]:
            raise ValueError("timm_proj_bias must be false to be read here, got true")
        return image, "linear"
    _refuse(vision, "vision_cfg", timm_pool=_TIMM_POOLS)
    image = image_kwargs(vision["timm_model_name"], {}, global_pool=pool)
    return image, "none" if proj == "none" else "linear_bias"


def _text(text: Mapping[str, Any], model: Mapping[str, Any]) -> dict[str, Any]:
    if text["hf_model_name"]:
        raise ValueError(
            f"the text tower must be open_clip's own, got hf_model_name={text['hf_model_name']!r}: "
            "towers of transformers are not read from open_clip's files"
        )
    if text["embed_cls"] and not model["custom_text"]:
        raise ValueError("embed_cls needs custom_text, got a model_cfg without it")
    if not text["embed_cls"]:
        _refuse(text, "text_cfg", pool_type=tuple(_TEXT_POOLS))
    # The largest id ends a text for CLIP's tokenizer, which pools by "argmax".
    by_id = text["pool_type"] == "eos"
    return dict(
        vocab_size=text["vocab_size"],
        length=text["context_length"],
        width=text["width"],
        depth=text["layers"],
        num_heads=text["heads"],
        mlp_dim=int(text["width"] * text["mlp_ratio"]),
        causal=not text["no_causal_mask"],
        pool="cls_last" if text["embed_cls"] else _TEXT_POOLS[text["pool_type"]],
        eos_id=text["eos_id"] if by_id else text["vocab_size"] - 1,
        pad_id=text["pad_id"],
        layer_scale=text["ls_init_value"],
        activation=_activation(text, model),
        norm_eps=_norm_eps(text),
    )


def _decoder(
    given: Mapping[str, Any],
    text: Mapping[str, Any],
    model: Mapping[str, Any],
    image: Mapping[str, Any],
) -> dict[str, Any]:
    if not model["custom_text"]:
        raise ValueError("multimodal_cfg needs custom_text, got a model_cfg without it")
    width = image.get("queries", image)["width"]
    if width != text["width"]:
        raise ValueError(
            f"a decoder reads image tokens as wide as its own, {text['width']}, got {width}; "
            "is the config whole?"
        )
    unused = ("dim_head", "n_queries", "attn_pooler_heads")
    decoder = _settings("multimodal_cfg", given, TEXT, unused=unused)
    _refuse(decoder, "multimodal_cfg", width=(text["width"],), ls_init_value=(None,))
    # The ratio and the epsilon of a config do not reach open_clip's decoder.
    return dict(
        depth=decoder["layers"],
        num_heads=decoder["heads"],
        activation="quick_gelu" if model["quick_gelu"] else "gelu",
        norm_eps=NORM_EPS,
    )


def _settings(
    name: str,
    given: Any,
    defaults: Mapping[str, Any],
    *,
    unused: tuple[str, ...] = (),
) -> dict[str, Any]:
    """The section with defaults, all of it understood.

    Raises:
        ValueError: it is none, or has a setting that is not known or cannot be expressed here.
    """
    if not isinstance(given, Mapping):
        raise ValueError(f"{name} must be a JSON object, got {given!r}; is this open_clip's file?")
    for key, value in given.items():
        if key not in (*defaults, *_UNUSED, *_OFF, *unused):
            raise ValueError(f"{name} may hold {', '.join(defaults)}; got {key!r}, unknown here")
        if key in _OFF and value:
            raise ValueError(f"{key} of {name} must be false to be read here, got {value!r}")
    return {**defaults, **given}


def _refuse(section: Mapping[str, Any], name: str, **accepted: tuple[Any, ...]) -> None:
    """Raises ValueError where a setting has a value that cannot be expressed here."""
    for key, values in accepted.items():
        if section[key] not in values:
            known = " or ".join(map(repr, values))
            raise ValueError(
                f"{key} of {name} must be {known} to be read here, got {section[key]!r}"
            )


def _activation(section: Mapping[str, Any], model: Mapping[str, Any]) -> str:
    options = section["act_kwargs"] or {}
    if options == {} or options == {"approximate": "none"}:
        return "quick_gelu" if model["quick_gelu"] else "gelu"
    if options == {"approximate": "tanh"} and not model["quick_gelu"]:
        return "gelu_tanh"
    raise ValueError(
        f"act_kwargs must be absent, or approximate='tanh' without quick_gelu, got {options}"
    )


def _norm_eps(section: Mapping[str, Any]) -> float:
    options = section["norm_kwargs"] or {}
    if set(options) - {"eps"}:
        raise ValueError(f"norm_kwargs may hold eps alone to be read here, got {options}")
    return options.get("eps", NORM_EPS)
