"""Our keyword arguments, to the `model_cfg` of open_clip; what it cannot hold is refused."""

import math
from collections.abc import Mapping
from typing import Any

from vlp.interop.adapt import Params, adapt
from vlp.interop.open_clip.config import NORM_EPS
from vlp.interop.timm.architectures import name_of
from vlp.interop.timm.config import ratio

_TEXT_POOLS = {"argmax": "argmax", "eot": "eos", "first": "first", "last": "last"}
_TIMM_POOLS = {"cls": "token", "mean": "avg", "map": "map"}
_TIMM_PROJECTIONS = {"none": "none", "linear": "linear", "linear_bias": None}
_ACTIVATIONS = ("gelu", "gelu_tanh", "quick_gelu")


def fit(kwargs: dict[str, Any], params: Params) -> tuple[dict[str, Any], Params]:
    """The same model with settings that open_clip has.

    Args:
        kwargs: complete keyword arguments of `DualEncoder` or `CoCa`.
        params: parameters by name.

    Raises:
        ValueError: there is none; names the settings.
    """
    image, text = kwargs["image"], kwargs["text"]
    trunk = needs_trunk(kwargs)
    accepted = {
        "image.kind": ("vit", "resnet"),
        **({} if image["kind"] != "vit" else _vit_accepted(image, trunk=trunk)),
        "text.kind": ("transformer",),
        "text.mask_padding": (False,),
        "text.pool": (*_TEXT_POOLS, "cls_last"),
        "text.activation": _text_activations(image, trunk=trunk),
        "image_projection": _projections(image, trunk=trunk),
    }
    if text.get("pool") == "cls_last":  # there the mask comes with the class token
        del accepted["text.mask_padding"]
    kwargs, params = adapt(kwargs, params, accepted=accepted, stack="open_clip")
    if trunk and name_of(kwargs["image"]) is None:
        raise ValueError(
            "an image tower that pools like SigLIP's must be one of timm's to be exported to "
            f"open_clip, and none there has {_sizes(kwargs['image'])}; export to hf or big_vision"
        )
    return kwargs, params


def needs_trunk(kwargs: Mapping[str, Any]) -> bool:
    """Whether the image tower can only be one of timm's."""
    image = kwargs["image"]
    if image["kind"] != "vit":
        return False
    no_class_token = not image["class_token"] and image["pool"] != "cls"
    return no_class_token or image["pool"] == "map" or kwargs["image_projection"] == "linear_bias"


def model_cfg(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The section for keyword arguments that `fit` made, without the tokenizer's settings."""
    image, text = kwargs["image"], kwargs["text"]
    trunk, decoder = needs_trunk(kwargs), kwargs.get("decoder")
    quick = "quick_gelu" in (text["activation"], None if trunk else image.get("activation"))
    bias = kwargs["init_bias"]
    return {
        "embed_dim": kwargs["embed_dim"],
        "vision_cfg": _trunk(kwargs) if trunk else _vision(image, coca=decoder is not None),
        "text_cfg": _text(kwargs),
        "quick_gelu": quick,
        "custom_text": trunk or text["pool"] == "cls_last",
        "init_logit_scale": math.log(kwargs["init_scale"]),
        **({} if bias is None else {"init_logit_bias": bias}),
        **({} if decoder is None else {"multimodal_cfg": _multimodal(decoder, text)}),
    }


def _vit_accepted(image: Mapping[str, Any], *, trunk: bool) -> dict[str, tuple[Any, ...]]:
    if trunk:
        pools = {"image.pool": tuple(_TIMM_POOLS)}
        return {"image.pooler": (False,), "image.position": ("learned",), **pools}
    return {
        "image.pool": ("cls", "mean", "queries"),
        "image.class_token": (True, None) if image["pool"] == "cls" else (True,),
        "image.pooler": (False,),
        "image.position": ("learned",),
        "image.patch_bias": (False,),
        "image.activation": _ACTIVATIONS,
        **({"image.norm_eps": (NORM_EPS,)} if image["pool"] == "queries" else {}),
    }


def _text_activations(image: Mapping[str, Any], *, trunk: bool) -> tuple[str, ...]:
    """One setting is for both towers, where both are open_clip's own."""
    if trunk or image["kind"] != "vit":
        return _ACTIVATIONS
    return ("quick_gelu",) if image["activation"] == "quick_gelu" else ("gelu", "gelu_tanh")


def _projections(image: Mapping[str, Any], *, trunk: bool) -> tuple[str, ...]:
    if trunk:
        return tuple(_TIMM_PROJECTIONS)
    return ("none",) if image["kind"] == "resnet" else ("linear",)


def _vision(image: Mapping[str, Any], *, coca: bool) -> dict[str, Any]:
    if image["kind"] == "resnet":
        heads = image["num_heads"] or image["width"] // 2
        return dict(
            image_size=image["image_size"],
            layers=list(image["layers"]),
            width=image["width"],
            head_width=image["width"] * 32 // heads,
        )
    pooled = {}
    if image["pool"] == "queries":
        queries = image["queries"]
        pooled = dict(
            attentional_pool=True,
            attn_pooler_queries=queries["num_queries"],
            attn_pooler_heads=queries["num_heads"],
        )
    return dict(
        image_size=image["image_size"],
        patch_size=image["patch_size"],
        width=image["width"],
        layers=image["depth"],
        head_width=image["width"] // image["num_heads"],
        mlp_ratio=ratio(image["width"], image["mlp_dim"]),
        ls_init_value=image["layer_scale"],
        no_ln_pre=not image["pre_norm"],
        pool_type="avg" if image["pool"] == "mean" else "tok",
        final_ln_after_pool=image["norm_after_pool"],
        **pooled,
        **_functions(image),
        **(dict(output_tokens=True) if coca else {}),
    )


def _trunk(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    image = kwargs["image"]
    return dict(
        timm_model_name=name_of(image),
        timm_model_pretrained=False,
        timm_pool=_TIMM_POOLS[image["pool"]],
        timm_proj=_TIMM_PROJECTIONS[kwargs["image_projection"]],
        image_size=image["image_size"],
    )


def _text(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    text = kwargs["text"]
    cls = text["pool"] == "cls_last"
    return dict(
        context_length=text["length"],
        vocab_size=text["vocab_size"],
        width=text["width"],
        heads=text["num_heads"],
        layers=text["depth"],
        mlp_ratio=ratio(text["width"], text["mlp_dim"]),
        ls_init_value=text["layer_scale"],
        embed_cls=cls,
        pad_id=text["pad_id"],
        eos_id=text["eos_id"],
        no_causal_mask=not text["causal"],
        pool_type="argmax" if cls else _TEXT_POOLS[text["pool"]],
        proj_type="none" if kwargs["text_projection"] == "none" else "linear",
        proj_bias=kwargs["text_projection"] == "linear_bias",
        **_functions(text),
        **(dict(output_tokens=True) if "decoder" in kwargs else {}),
    )


def _multimodal(decoder: Mapping[str, Any], text: Mapping[str, Any]) -> dict[str, Any]:
    wanted = dict(
        activation="quick_gelu" if text["activation"] == "quick_gelu" else "gelu",
        norm_eps=NORM_EPS,
        mlp_dim=decoder.get("mlp_dim") and 4 * text["width"],
        mlp_ratio=4.0,
        mlp_between=True,
    )
    for key, value in wanted.items():
        if decoder.get(key, value) != value:
            raise ValueError(
                f"decoder.{key} must be {value!r} for open_clip, got {decoder[key]!r}; "
                "train with that setting"
            )
    return dict(
        context_length=text["length"],
        vocab_size=text["vocab_size"],
        width=text["width"],
        heads=decoder["num_heads"],
        layers=decoder["depth"],
    )


def _functions(tower: Mapping[str, Any]) -> dict[str, Any]:
    """The activation and the epsilon, where they are not the defaults."""
    tanh = tower["activation"] == "gelu_tanh"
    eps = tower["norm_eps"]
    return {
        **(dict(act_kwargs={"approximate": "tanh"}) if tanh else {}),
        **(dict(norm_kwargs={"eps": eps}) if eps != NORM_EPS else {}),
    }


def _sizes(image: Mapping[str, Any]) -> str:
    keys = ("image_size", "patch_size", "width", "depth", "num_heads", "mlp_dim", "activation")
    return ", ".join(f"{key}={image[key]}" for key in keys)
