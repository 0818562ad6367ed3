"""Published sizes of towers and pairs, by name."""

import functools
from collections.abc import Callable
from typing import Any

_BERT = "Devlin et al., 2019, https://arxiv.org/abs/1810.04805"
_CLIP = "Radford et al., 2021, https://arxiv.org/abs/2103.00020"
_DEIT = "Touvron et al., 2020, https://arxiv.org/abs/2012.12877"
_OPEN_CLIP = "Ilharco et al., open_clip, https://github.com/mlfoundations/open_clip"
_SCALING = "Zhai et al., 2022, https://arxiv.org/abs/2106.04560"
_SIGLIP2 = "Tschannen et al., 2025, https://arxiv.org/abs/2502.14786"
_SHAPE = "Alabdulmohsin et al., 2023, https://arxiv.org/abs/2305.13035"
_VIT = "Dosovitskiy et al., 2021, https://arxiv.org/abs/2010.11929"

# name: width, depth, mlp_dim, num_heads, paper. The patch size is the number behind the slash.
VISION_SIZES = {
    "Ti": (192, 12, 768, 3, _DEIT),
    "S": (384, 12, 1536, 6, _DEIT),
    "M": (512, 12, 2048, 8, _OPEN_CLIP),
    "B": (768, 12, 3072, 12, _VIT),
    "B-plus": (896, 12, 3584, 14, _OPEN_CLIP),
    "L": (1024, 24, 4096, 16, _VIT),
    "So400m": (1152, 27, 4304, 16, _SHAPE),
    "H": (1280, 32, 5120, 16, _VIT),
    "g": (1408, 40, 6144, 16, _SCALING),
    "gopt": (1536, 40, 6144, 16, _SIGLIP2),
    "bigG": (1664, 48, 8192, 16, _SCALING),
}

# name: width, depth, mlp_dim, num_heads, paper. CLIP's text tower and embedding width per vision
# size; Ti extends the rule of S and M (text as wide as vision), for which no paper exists.
CLIP_TEXT_SIZES = {
    "Ti": (192, 12, 768, 3, _OPEN_CLIP),
    "S": (384, 12, 1536, 6, _OPEN_CLIP),
    "M": (512, 12, 2048, 8, _OPEN_CLIP),
    "B": (512, 12, 2048, 8, _CLIP),
    "B-plus": (640, 12, 2560, 10, _OPEN_CLIP),
    "L": (768, 12, 3072, 12, _CLIP),
    "So400m": (1152, 27, 4304, 16, _SHAPE),
    "H": (1024, 24, 4096, 16, _OPEN_CLIP),
    "g": (1024, 24, 4096, 16, _OPEN_CLIP),
    "gopt": (1152, 27, 4304, 16, _SIGLIP2),
    "bigG": (1280, 32, 5120, 20, _OPEN_CLIP),
}

# name: layers, width, image size, embedding width; then width, depth, mlp_dim and num_heads of the
# text tower. The blocks are those of open_clip's configs, the rest is table 19 of the paper.
RESNET_SIZES = {
    "RN50": ((3, 4, 6, 3), 64, 224, 1024, (512, 12, 2048, 8, _CLIP)),
    "RN101": ((3, 4, 23, 3), 64, 224, 512, (512, 12, 2048, 8, _CLIP)),
    "RN50x4": ((4, 6, 10, 6), 80, 288, 640, (640, 12, 2560, 10, _CLIP)),
    "RN50x16": ((6, 8, 18, 8), 96, 384, 768, (768, 12, 3072, 12, _CLIP)),
    "RN50x64": ((3, 15, 36, 10), 128, 448, 1024, (1024, 12, 4096, 16, _CLIP)),
}

# name of the vision tower beside it: width, depth, mlp_dim, num_heads, paper.
_BERT_SIZES = {"B": (768, 12, 3072, 12, _BERT), "L": (1024, 24, 4096, 16, _BERT)}

# name: width and num_heads of both towers; depth and mlp_dim of the image tower; depth and mlp_dim
# of each half of the text decoder. Table 1 of Yu et al., 2022, https://arxiv.org/abs/2205.01917.
COCA_SIZES = {
    "base": (768, 12, 12, 3072, 12, 3072),
    "large": (1024, 16, 24, 4096, 12, 4096),
    "2b": (1408, 16, 40, 6144, 18, 5632),
}

# Settings of a tower for pictures of one size that one for pictures of any shape has not.
_OF_SQUARES = ("image_size", "pool", "patch_bias")

_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


def vision_preset(name: str) -> dict[str, int]:
    """Sizes of a vision tower: `patch_size`, `width`, `depth`, `mlp_dim`, `num_heads`.

    Args:
        name: such as "ViT-B/16", "B/16", "So400m/14"; any patch size may follow the slash.

    Raises:
        ValueError: when there is no such size.
    """
    size, patch_size = _parse(name)
    return {"patch_size": patch_size, **_sizes(VISION_SIZES[size])}


def text_preset(name: str) -> dict[str, int]:
    """Sizes of CLIP's text tower for a vision tower: `width`, `depth`, `mlp_dim`, `num_heads`."""
    return _sizes(CLIP_TEXT_SIZES[_parse(name)[0]])


def dual_encoder_preset(
    name: str,
    *,
    image_size: int | None = None,
    text_length: int | None = None,
    vocab_size: int | None = None,
    eos_id: int | None = None,
    pad_id: int | None = None,
) -> dict[str, Any]:
    """Keyword arguments of a model for a published pair, see `vlp.models.build.model_class`.

    Args:
        name: family and vision tower, such as "clip/ViT-B/32" or "siglip2/ViT-B/16". "clip" is
            CLIP as open_clip trains it; "openai" has the activation of OpenAI's own weights,
            "quick_gelu", which some others were trained with too. "coca" with a vision tower is
            open_clip's, with a "decoder" as deep as the text tower; the paper's own are
            "coca/base", "coca/large" and "coca/2b". "albef" and "blip" have BERT base for every
            image tower, "blip" with two tokens behind its own, "blip2" with one and a frozen tower.
            "flip" and "clipa" are CLIP with fixed positions, the mean of the patches and texts of
            BERT's words; "lit" has BERT itself, large beside a ViT-L, for a tower that is locked;
            "openvision2" writes captions and compares nothing; "siglip2_naflex" takes pictures at
            their own aspect ratio.
        image_size: pixels along each side; left out, 224 or what the paper or the ResNet has.
        text_length, vocab_size, eos_id, pad_id: those of the tokenizer; left out, the paper's.

    Raises:
        ValueError: when there is no such family or size, or the images of the pair have none.
    """
    family, _, tower = name.partition("/")
    if family not in _FAMILIES:
        raise ValueError(
            f'a pair must be named "family/tower" with a family of {", ".join(_FAMILIES)}, '
            f'got {name!r}; such as "clip/ViT-B/32"'
        )
    kwargs = _FAMILIES[family](tower)
    if image_size is not None:
        if "image_size" not in kwargs["image"]:
            raise ValueError(
                f"{name} takes images of any size, got image_size {image_size}; leave it out"
            )
        kwargs["image"]["image_size"] = image_size
    given = dict(length=text_length, vocab_size=vocab_size, eos_id=eos_id, pad_id=pad_id)
    if "end_id" in kwargs and eos_id is not None:
        kwargs["end_id"] = given.pop("eos_id")  # no setting of the tower
    kwargs["text"].update({key: value for key, value in given.items() if value is not None})
    return kwargs


def _clip(tower: str, *, activation: str = "gelu") -> dict[str, Any]:
    shared = dict(activation=activation, norm_eps=1e-5)
    if tower in RESNET_SIZES:
        layers, width, image_size, embed_dim, text_sizes = RESNET_SIZES[tower]
        text = _sizes(text_sizes)
        image: dict[str, Any] = dict(
            kind="resnet", image_size=image_size, layers=layers, width=width, output_dim=embed_dim
        )
    elif tower.startswith("RN"):
        raise ValueError(f"a ResNet must be one of {', '.join(RESNET_SIZES)}, got {tower!r}")
    else:
        text = text_preset(tower)
        embed_dim = text["width"]
        image = dict(
            **vision_preset(tower),
            image_size=224,
            pool="cls",
            pre_norm=True,
            patch_bias=False,
            **shared,
        )
    return dict(
        image=image,
        text=dict(
            **text, vocab_size=49408, length=77, causal=True, pool="eot", eos_id=49407, pad_id=0,
            **shared,
        ),
        embed_dim=embed_dim,
        image_projection="none" if tower in RESNET_SIZES else "linear",
        image_mean=_CLIP_MEAN,
        image_std=_CLIP_STD,
    )  # fmt: skip


def _flip(tower: str) -> dict[str, Any]:
    """With MAE's sines, and a text tower that sees all of a text and pools its first token."""
    shared = dict(activation="gelu_tanh", norm_eps=1e-6)
    sizes = text_preset(tower)
    return dict(
        image=dict(
            **vision_preset(tower), image_size=224, pool="mean", class_token=True,
            position="sincos2d", **shared,
        ),
        text=dict(
            **sizes, vocab_size=30523, length=32, causal=False, pool="first", eos_id=102, pad_id=0,
            **shared,
        ),
        embed_dim=sizes["width"],
        image_mean=_IMAGENET_MEAN,
        image_std=_IMAGENET_STD,
    )  # fmt: skip


def _clipa(tower: str) -> dict[str, Any]:
    """As FLIP, but for the norm behind the mean, and the last token, which is mostly padding."""
    kwargs = _flip(tower)
    image = kwargs["image"] | dict(norm_after_pool=True, patch_bias=False)
    return kwargs | dict(image=image, text=kwargs["text"] | dict(vocab_size=32000, pool="last"))


def _lit(tower: str) -> dict[str, Any]:
    """A ViT without a projection, and BERT with one; its pooler stays behind."""
    vision = vision_preset(tower)
    size = _parse(tower)[0]
    if size not in _BERT_SIZES:
        raise ValueError(
            f"LiT's image tower must have a size of {', '.join(_BERT_SIZES)}, as BERT has, got "
            f'{tower!r}; try "lit/L/16"'
        )
    bert = dict(kind="bert", vocab_size=30522, length=16, pooler=False, pad_id=0)
    return dict(
        image=dict(**vision, image_size=224, pool="cls"),
        text=bert | _sizes(_BERT_SIZES[size]),
        embed_dim=vision["width"],
        image_projection="none",
        text_projection="linear_bias",
    )


def _coca(tower: str) -> dict[str, Any]:
    """Of CLIP's towers, with one set of 256 queries behind the image's, as open_clip has it."""
    if tower in COCA_SIZES:
        return _coca_of_the_paper(tower)
    if tower in RESNET_SIZES:
        raise ValueError(
            f"CoCa's image tower must be a ViT, or the pair one of {', '.join(COCA_SIZES)}, "
            f'got {tower!r}; try "coca/ViT-B/32"'
        )
    kwargs = _clip(tower)
    width = kwargs["embed_dim"]
    text = kwargs["text"] | dict(length=76, pool="cls_last")
    sizes = {key: text[key] for key in ("depth", "num_heads", "activation", "norm_eps")}
    queries = dict(width=width, num_queries=256, num_heads=8)
    image = kwargs["image"] | dict(pool="queries", queries=queries, class_token=True)
    return kwargs | dict(image=image, text=text, decoder=sizes)


def _coca_of_the_paper(size: str) -> dict[str, Any]:
    """At 288 pixels, with two poolers and no projections, of which the paper says nothing.

    The number of parameters tells that the vocabulary has 64,000 pieces and an output matrix of its
    own. The length of captions is SigLIP's: the paper does not say it.
    """
    width, num_heads, depth, mlp_dim, half, text_mlp_dim = COCA_SIZES[size]
    decoder = dict(depth=half, num_heads=num_heads, mlp_dim=text_mlp_dim)
    return dict(
        image=dict(
            image_size=288, patch_size=18, width=width, depth=depth, num_heads=num_heads,
            mlp_dim=mlp_dim, pool="cascade",
            queries=dict(width=width, num_queries=256, num_heads=num_heads),
        ),
        text=dict(
            **decoder, width=width, vocab_size=64000, length=64, causal=True, pool="cls_last",
            eos_id=1, pad_id=0,
        ),
        decoder=decoder | dict(mlp_between=False),
        embed_dim=width,
        image_projection="none",
        text_projection="none",
    )  # fmt: skip


def _openvision2(tower: str) -> dict[str, Any]:
    """A ViT, and a decoder of CLIP's text sizes in two halves, of which the later reads it.

    The authors' decoder has the image's tokens in front of the text's in all its layers.
    """
    shared = dict(activation="gelu_tanh", norm_eps=1e-6)
    vision, sizes = vision_preset(tower), text_preset(tower)
    half = sizes | dict(depth=sizes["depth"] // 2)
    return dict(
        image=dict(**vision, image_size=224, pool="cls", position="sincos2d", **shared),
        text=dict(
            **half, vocab_size=32000, length=128, causal=True, pool="cls_last", eos_id=102,
            pad_id=0, **shared,
        ),
        decoder={key: value for key, value in half.items() if key != "width"} | shared,
        embed_dim=vision["width"],
        image_projection=None,
        text_projection=None,
        image_mean=_IMAGENET_MEAN,
        image_std=_IMAGENET_STD,
    )  # fmt: skip


def _with_bert(tower: str, **text: Any) -> dict[str, Any]:
    """A ViT beside BERT base, compared in 256 dimensions."""
    base = dict(width=768, mlp_dim=3072, num_heads=12, length=30, pooler=False, pad_id=0)
    return dict(
        image=dict(**vision_preset(tower), image_size=224, pool="cls", norm_eps=1e-6),
        text=dict(kind="bert", **base | text),
        embed_dim=256,
        image_projection="linear_bias",
        text_projection="linear_bias",
        image_mean=_CLIP_MEAN,
        image_std=_CLIP_STD,
    )


def _albef(tower: str) -> dict[str, Any]:
    """Six layers of BERT for the text, six more that also read the image; 256 pixels."""
    kwargs = _with_bert(tower, depth=6, vocab_size=30522)
    kwargs["image"]["image_size"] = 256
    return kwargs | dict(fusion=dict(depth=6, num_heads=12))


def _blip(tower: str) -> dict[str, Any]:
    """Pretraining's; 384 pixels in what the paper fine-tunes."""
    text = dict(depth=12, vocab_size=30524, num_types=None)
    return _with_bert(tower, **text) | dict(modes=["encode", "decode"], end_id=102)


def _blip2(tower: str) -> dict[str, Any]:
    """A Q-Former in front of a tower that is not its own: BERT base and one token, 32 queries."""
    kwargs = _with_bert(tower, depth=12, vocab_size=30523, num_types=None, length=32)
    image = dict(kind="frozen", width=kwargs["image"]["width"], image_size=224)
    whole = {k: v for k, v in kwargs.items() if not k.endswith("_projection")}
    return whole | dict(image=image, num_queries=32, cross_every=2, end_id=102)


def _siglip(tower: str, *, vocab_size: int = 32000, pad_id: int = 1) -> dict[str, Any]:
    """The text tower has the vision tower's shape (but for gopt), and no image projection."""
    vision = vision_preset(tower)
    text = {key: value for key, value in vision.items() if key != "patch_size"}
    if _parse(tower)[0] == "gopt":
        text = text_preset(tower)
    shared = dict(activation="gelu_tanh", norm_eps=1e-6)
    return dict(
        image=dict(**vision, image_size=224, pool="map", patch_bias=True, **shared),
        text=dict(
            **text, vocab_size=vocab_size, length=64, causal=False, pool="last", eos_id=1,
            pad_id=pad_id, **shared,
        ),
        embed_dim=vision["width"],
        image_projection="none",
        text_projection="linear_bias",
        init_scale=10.0,
        init_bias=-10.0,
    )  # fmt: skip


def _naflex(tower: str) -> dict[str, Any]:
    """SigLIP 2 for pictures of any shape; the square table of positions is the released one's."""
    kwargs = _siglip(tower, vocab_size=256000, pad_id=0)
    image = {key: value for key, value in kwargs["image"].items() if key not in _OF_SQUARES}
    return kwargs | dict(image=dict(kind="naflex", num_patches=256, **image))


_FAMILIES: dict[str, Callable[[str], dict[str, Any]]] = {
    "albef": _albef,
    "blip": _blip,
    "blip2": _blip2,
    "clip": _clip,
    "clipa": _clipa,
    "coca": _coca,
    "flip": _flip,
    "lit": _lit,
    "openai": functools.partial(_clip, activation="quick_gelu"),
    "openvision2": _openvision2,
    "siglip": _siglip,
    # With the vocabulary of Gemma, at a fixed resolution.
    "siglip2": functools.partial(_siglip, vocab_size=256000, pad_id=0),
    "siglip2_naflex": _naflex,
}


def _parse(name: str) -> tuple[str, int]:
    size, slash, patch_size = name.removeprefix("ViT-").partition("/")
    if size not in VISION_SIZES or not slash or not patch_size.isdecimal() or int(patch_size) < 1:
        raise ValueError(
            f"a tower must be named SIZE/PATCH with a size of {', '.join(VISION_SIZES)}, "
            f'got {name!r}; such as "B/16" or "ViT-B/16"'
        )
    return size, int(patch_size)


def _sizes(entry: tuple[int, int, int, int, str]) -> dict[str, int]:
    width, depth, mlp_dim, num_heads, _ = entry
    return dict(width=width, depth=depth, mlp_dim=mlp_dim, num_heads=num_heads)
