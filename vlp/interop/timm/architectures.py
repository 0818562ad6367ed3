"""timm's vision transformers by name, and the settings of our tower that are the same model."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

# Width, depth, heads and hidden width of the perceptrons relative to the width.
SIZES: dict[str, tuple[int, int, int, float]] = {
    "tiny": (192, 12, 3, 4),
    "xsmall": (256, 10, 4, 4),
    "small": (384, 12, 6, 4),
    "medium": (512, 12, 8, 4),
    "betwixt": (640, 12, 10, 4),
    "base": (768, 12, 12, 4),
    "large": (1024, 24, 16, 4),
    "huge": (1280, 32, 16, 4),
    "giant": (1408, 40, 16, 48 / 11),
    "gigantic": (1664, 48, 16, 64 / 13),
    "so400m": (1152, 27, 16, 3.7362),
    "giantopt": (1536, 40, 16, 4),
}
# What follows the patch size in a name: which sizes, patches and images exist with it.
_NAMES = {
    "": """tiny/16/224,384 small/32/224,384 small/16/224,384 small/8/224 base/32/224,384
        base/16/224,384 base/8/224 large/32/224,384 large/16/224,384 large/14/224 huge/14/224
        giant/14/224 gigantic/14/224""",
    "deit": "tiny/16/224 small/16/224 base/16/224,384",
    "clip": """xsmall/16/224 medium/32/224 medium/16/224 betwixt/32/224 base/32/224,256,384,448
        base/16/224,384 large/14/224,336 huge/14/224,336,378 giant/14/224 gigantic/14/224,378""",
    "clip_quickgelu": """base/32/224 base/16/224 large/14/224,336 huge/14/224,378
        gigantic/14/224""",
    "siglip": """base/32/256 base/16/224,256,384,512 large/16/256,384,512
        so400m/14/224,378,384 so400m/16/256,384,512 giantopt/16/256,384""",
    "siglip_gap": """base/32/256 base/16/224,256,384,512 large/16/256,384,512
        so400m/14/224,378,384,448,896 so400m/16/256,384,512 giantopt/16/256,384""",
}
_PLAIN: dict[str, Any] = dict(
    kind="vit", pool="cls", class_token=True, pre_norm=False, patch_bias=True,
    norm_after_pool=False, pooler=False, layer_scale=None, position="learned", activation="gelu",
    norm_eps=1e-6,
)  # fmt: skip
_SETTINGS: dict[str, dict[str, Any]] = {
    "": {},
    "deit": {},
    "clip": dict(pre_norm=True, patch_bias=False, norm_eps=1e-5),
    "clip_quickgelu": dict(pre_norm=True, patch_bias=False, norm_eps=1e-5, activation="quick_gelu"),
    "siglip": dict(pool="map", class_token=False),
    "siglip_gap": dict(pool="mean", class_token=False),
}
# Released with SigLIP 2, and with the tanh form of GELU; the others have the exact one.
_TANH = re.compile(r"vit_(base_patch32|large_patch16.*_512|so400m_patch16|giantopt_patch16)")


def names() -> list[str]:
    """All that are known here."""
    return list(_KNOWN)


def find(name: str) -> dict[str, Any]:
    """The keyword arguments of our `VisionTransformer` for timm's `name`, all that matter.

    Raises:
        ValueError: no such name; lists the known ones.
    """
    known = name.partition(".")[0]
    if known not in _KNOWN:
        raise ValueError(
            f"an image tower of timm must be one of {', '.join(_KNOWN)}; got {name!r}, which is "
            "another architecture or has parts that these towers have not"
        )
    return dict(_KNOWN[known][1])


def name_of(image: Mapping[str, Any]) -> str | None:
    """The name of the same model in timm; None where there is none.

    Args:
        image: complete keyword arguments of our tower.
    """
    class_token = image["pool"] == "cls" if image["class_token"] is None else image["class_token"]
    given = {**image, "class_token": class_token}
    return next((name for name in names() if find(name).items() <= given.items()), None)


def family(name: str) -> str:
    """ "", "deit", "clip", "clip_quickgelu", "siglip" or "siglip_gap"."""
    return _KNOWN[name.partition(".")[0]][0]


def _all() -> Iterator[tuple[str, tuple[str, dict[str, Any]]]]:
    for kind, described in _NAMES.items():
        for entry in described.split():
            size, patch, images = entry.split("/")
            for image in images.split(","):
                first = "deit" if kind == "deit" else "vit"
                middle = f"_{kind}" if kind not in ("", "deit") else ""
                name = f"{first}_{size}_patch{patch}{middle}_{image}"
                width, depth, num_heads, ratio = SIZES[size]
                sizes = dict(width=width, depth=depth, num_heads=num_heads)
                pixels = dict(image_size=int(image), patch_size=int(patch))
                tanh = (
                    dict(activation="gelu_tanh") if "siglip" in kind and _TANH.match(name) else {}
                )
                settings = {**_PLAIN, **pixels, **sizes, "mlp_dim": int(width * ratio)}
                yield name, (kind, settings | _SETTINGS[kind] | tanh)


# The family and the settings of each.
_KNOWN = dict(_all())
