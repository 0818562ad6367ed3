"""timm's config.json: architecture and arguments, to our keyword arguments and back."""

import math
from collections.abc import Mapping
from typing import Any

from data_pipelines.images import ImagePreprocess
from vlp.interop.checks import check_preprocess
from vlp.interop.timm import architectures

_POOLS = {"token": "cls", "avg": "mean", "map": "map"}
_ACTIVATIONS = {name: name for name in ("gelu", "gelu_tanh", "quick_gelu", "silu", "relu")}
_MODES = {"center": "shortest", "squash": "squash", "border": "longest"}
# Arguments of the model that change nothing in its evaluation at its own size.
_HARMLESS = frozenset((
    "drop_rate", "pos_drop_rate", "patch_drop_rate", "proj_drop_rate", "attn_drop_rate",
    "drop_path_rate", "weight_init", "fix_init", "dynamic_img_size", "dynamic_img_pad",
    "global_pool", "num_classes", "mlp_ratio",
))  # fmt: skip
# Arguments with a single value that these towers can be.
_FIXED = dict(
    in_chans=3, qkv_bias=True, qk_norm=False, scale_attn_norm=False, scale_mlp_norm=False,
    proj_bias=True, pos_embed="learn", no_embed_class=False, reg_tokens=0, final_norm=True,
    pool_include_prefix=False,
)  # fmt: skip
_RENAMED = dict(
    patch_size="patch_size", embed_dim="width", depth="depth", num_heads="num_heads",
    class_token="class_token", init_values="layer_scale",
)  # fmt: skip
# The numbers of classes of ImageNet and its larger forms: such a head is no projection.
_CLASSIFIERS = frozenset((1000, 11221, 11821, 12000, 21841, 21843))
_FILTERS = ("bicubic", "bilinear", "lanczos", "nearest", "box", "hamming")
_IMAGENET = dict(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def image_kwargs(
    name: str, args: Mapping[str, Any], *, global_pool: str | None = None
) -> dict[str, Any]:
    """Keyword arguments of our `VisionTransformer`.

    Args:
        name: of the architecture.
        args: what differs from it, as `timm.create_model` takes it.
        global_pool: another pooling than that of the architecture.

    Raises:
        ValueError: an argument that these towers cannot be; names it.
    """
    image = architectures.find(name)
    for key, value in args.items():
        if key in _RENAMED:
            image[_RENAMED[key]] = value
        elif key == "img_size":
            image["image_size"] = square(value, "img_size")
        elif key == "act_layer":
            image["activation"] = _choice(_ACTIVATIONS, value, "act_layer")
        elif key == "pre_norm":
            image |= dict(pre_norm=value, patch_bias=not value)
        elif key not in {*_HARMLESS, *_FIXED, "fc_norm"} or value != _FIXED.get(key, value):
            raise ValueError(
                f"arguments of an image tower of timm must be such that a plain vision transformer "
                f"has them, got {key}={value!r}; take another model"
            )
    if "mlp_ratio" in args or "embed_dim" in args:
        ratio = architectures.SIZES[name.split("_")[1]][3]
        image["mlp_dim"] = int(image["width"] * args.get("mlp_ratio", ratio))
    pool = args.get("global_pool") or global_pool
    if pool:
        image["pool"] = _choice(_POOLS, pool, "global_pool")
    fc_norm = args.get("fc_norm")
    by_pool = image["pool"] == "mean" and "gap" not in name
    image["norm_after_pool"] = by_pool if fc_norm is None else fc_norm
    return image


def is_projection(name: str, num_classes: int, *, marked: bool) -> bool:
    """Whether the head makes embeddings, as it does in CLIP's image towers, and no class scores."""
    clip = architectures.family(name).startswith("clip")
    return num_classes > 0 and (marked or (clip and num_classes not in _CLASSIFIERS))


def model_args(image: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The architecture, and what differs from it, for complete keyword arguments."""
    name = architectures.name_of({**image, "norm_after_pool": False, "layer_scale": None})
    if name is None:
        # A partial function holds the epsilon, which no config can: the family decides it.
        name = f"vit_base_patch16{'_clip' if image['norm_eps'] == 1e-5 else ''}_224"
    pools = {ours: theirs for theirs, ours in _POOLS.items()}
    class_token = image["pool"] == "cls" if image["class_token"] is None else image["class_token"]
    args = dict(
        img_size=image["image_size"],
        patch_size=image["patch_size"],
        embed_dim=image["width"],
        depth=image["depth"],
        num_heads=image["num_heads"],
        mlp_ratio=ratio(image["width"], image["mlp_dim"]),
        class_token=class_token,
        global_pool=pools[image["pool"]],
        fc_norm=image["norm_after_pool"],
        pre_norm=image["pre_norm"],
        init_values=image["layer_scale"],
        act_layer=image["activation"],
    )
    return name, args


def ratio(width: int, mlp_dim: int) -> float:
    """A number whose product with the width, cut to a whole number, is `mlp_dim`."""
    found = mlp_dim / width
    return found if int(width * found) == mlp_dim else math.nextafter(found, math.inf)


def preprocess(config: Mapping[str, Any], *, size: int) -> ImagePreprocess:
    """The evaluation transform of a `pretrained_cfg`.

    Raises:
        ValueError: it cannot be done here; names the setting.
    """
    mean, std = (config.get(key) or _IMAGENET[key] for key in ("mean", "std"))
    mode = config.get("crop_mode") or "center"
    resize = _choice(_MODES, mode, "crop_mode")
    interpolation = config.get("interpolation") or "bicubic"
    return ImagePreprocess(
        size,
        resize=resize,
        interpolation="bicubic" if interpolation == "random" else interpolation,
        resize_size=math.floor(size / (config.get("crop_pct") or 0.875)),
        rounding="even",
        mean=mean,
        std=std,
        fill=[round(255 * value) for value in mean] if mode == "border" else None,
    )


def pretrained_cfg(ours: ImagePreprocess, *, num_classes: int) -> dict[str, Any]:
    """`preprocess`, backwards.

    Raises:
        ValueError: timm has no such transform; names the setting.
    """
    ours = ours.portable
    modes = {ours: theirs for theirs, ours in _MODES.items()}
    crop_pct = ours.size / ours.resize_size
    if math.floor(ours.size / crop_pct) != ours.resize_size:
        crop_pct = math.nextafter(crop_pct, 0)
    wanted: dict[str, tuple[Any, ...]] = {"interpolation": _FILTERS}
    if ours.resize != "squash" or crop_pct != 1:
        wanted["rounding"] = ("even",)
    if ours.resize == "longest":
        wanted["fill"] = (tuple(round(255 * value) for value in ours.mean),)
    check_preprocess(ours, wanted, stack="timm")
    return {
        "custom_load": False,
        "input_size": [3, ours.size, ours.size],
        "fixed_input_size": True,
        "interpolation": ours.interpolation,
        "crop_pct": crop_pct,
        "crop_mode": modes[ours.resize],
        "mean": list(ours.mean),
        "std": list(ours.std),
        "num_classes": num_classes,
        "first_conv": "patch_embed.proj",
        "classifier": "head",
    }


def square(value: Any, name: str) -> int:
    """The side of a square, given as it is or twice."""
    sides = {value} if isinstance(value, int) else set(value)
    if len(sides) != 1:
        raise ValueError(f"{name} must be square, got {value}; take a model of square images")
    return sides.pop()


def _choice(known: Mapping[str, str], given: Any, name: str) -> str:
    if given not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)} here, got {given!r}")
    return known[given]
