import math

import jax
import pytest
from flax import nnx

from vlp.models import CoCa, DualEncoder, dual_encoder_preset, text_preset, vision_preset
from vlp.models.presets import CLIP_TEXT_SIZES, RESNET_SIZES, VISION_SIZES

# Parameters as published, in millions: open_clip's docs/model_profile.csv; the SigLIP pairs with
# the scale and bias, as `transformers` counts them.
PUBLISHED = {
    "clip/ViT-B/32": 151.28,
    "clip/ViT-B/16": 149.62,
    "clip/ViT-L/14": 427.62,
    "clip/ViT-H/14": 986.11,
    "clip/ViT-g/14": 1366.68,
    "clip/ViT-bigG/14": 2539.57,
    "coca/ViT-B/32": 253.56,
    "coca/ViT-L/14": 638.45,
    "clip/RN50": 102.01,
    "clip/RN101": 119.69,
    "openai/RN50x4": 178.30,
    "openai/RN50x16": 290.98,
    "openai/RN50x64": 623.26,
    "siglip/ViT-B/16": 203.16,
    "siglip/So400m/14": 877.36,
    "siglip2/ViT-B/16": 375.19,
}


SIGLIP2 = ("siglip2", "siglip2_naflex")


def count(kwargs):
    make = CoCa if "decoder" in kwargs else DualEncoder
    model = jax.eval_shape(lambda: nnx.state(make(**kwargs, rngs=nnx.Rngs(0)), nnx.Param))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(model))


# Their hundreds of convolutions take tens of seconds to build, even without a value.
LARGE = ("openai/RN50x4", "openai/RN50x16", "openai/RN50x64")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] if name in LARGE else []) for name in PUBLISHED],
)
def test_pairs_have_their_published_number_of_parameters(name):
    length = 16 if "So400m" in name else None  # its 224-pixel release reads 16 tokens
    assert round(count(dual_encoder_preset(name, text_length=length)) / 1e6, 2) == PUBLISHED[name]


def test_published_sizes_beside_224_pixels_have_their_number_of_parameters():
    assert count(dual_encoder_preset("clip/ViT-B-plus/16", image_size=240)) == 208_377_345
    assert count(dual_encoder_preset("siglip2/So400m/16", image_size=256)) == 1_135_670_962
    assert count(dual_encoder_preset("siglip2/gopt/16", image_size=256)) == 1_871_393_906


def test_a_pair_for_pictures_of_any_shape_is_that_of_its_table_s_square_in_other_clothes():
    square, free = (dual_encoder_preset(f"{family}/So400m/16") for family in SIGLIP2)
    square["image"]["image_size"] = 256
    assert count(free) == count(square) and free["text"] == square["text"]
    with pytest.raises(ValueError, match="takes images of any size, got image_size 224; leave"):
        dual_encoder_preset(f"{SIGLIP2[1]}/So400m/16", image_size=224)


def test_openai_s_pairs_differ_from_open_clip_s_in_the_activation_only():
    for tower in ("ViT-L/14", "RN50x4"):
        ours, theirs = (dual_encoder_preset(f"{family}/{tower}") for family in ("clip", "openai"))
        assert theirs["text"]["activation"] == "quick_gelu"
        for kwargs in (ours, theirs):
            kwargs["text"].pop("activation")
            kwargs["image"].pop("activation", None)
        assert ours == theirs


def test_a_resnet_is_built_at_the_size_it_was_trained_at_unless_asked_for_another():
    sizes = {
        name: dual_encoder_preset(f"clip/{name}")["image"]["image_size"] for name in RESNET_SIZES
    }
    assert sizes == dict(RN50=224, RN101=224, RN50x4=288, RN50x16=384, RN50x64=448)
    assert dual_encoder_preset("clip/RN50x4", image_size=96)["image"]["image_size"] == 96


def test_clip_b32_has_exactly_openai_s_parameters():
    assert count(dual_encoder_preset("clip/ViT-B/32")) == 151_277_313


def test_names_work_with_and_without_their_prefix_and_with_any_patch_size():
    assert vision_preset("ViT-B/16") == vision_preset("B/16")
    assert vision_preset("B/16")["patch_size"] == 16
    assert vision_preset("ViT-Ti/8") == dict(
        patch_size=8, width=192, depth=12, mlp_dim=768, num_heads=3
    )
    assert text_preset("L/14") == dict(width=768, depth=12, mlp_dim=3072, num_heads=12)


def test_every_size_builds_as_either_family():
    assert VISION_SIZES.keys() == CLIP_TEXT_SIZES.keys()
    for size in VISION_SIZES:
        for family in ("clip", "siglip"):
            assert count(dual_encoder_preset(f"{family}/{size}/16", image_size=64)) > 1e6


def test_the_tokenizer_s_settings_replace_the_paper_s():
    kwargs = dual_encoder_preset(
        "clip/B/16", image_size=96, vocab_size=500, text_length=20, eos_id=3, pad_id=2
    )
    text = kwargs["text"]
    assert kwargs["image"]["image_size"] == 96
    assert (text["vocab_size"], text["length"], text["eos_id"], text["pad_id"]) == (500, 20, 3, 2)


@pytest.mark.parametrize("name", ["B", "B/", "B/x", "Q/16", "vit_b_16"])
def test_an_unknown_tower_is_refused_with_the_known_ones(name):
    with pytest.raises(
        ValueError, match="size of Ti, S, M, B, B-plus, L, So400m, H, g, gopt, bigG, got"
    ):
        vision_preset(name)


def test_coca_s_decoder_follows_the_text_tower_and_its_image_tower_is_a_vit():
    kwargs = dual_encoder_preset("coca/ViT-L/14", vocab_size=500)
    assert (kwargs["decoder"]["depth"], kwargs["decoder"]["num_heads"]) == (12, 12)
    assert kwargs["text"]["vocab_size"] == 500
    with pytest.raises(ValueError, match="must be a ViT, .* base, large, 2b, got 'RN50'"):
        dual_encoder_preset("coca/RN50")


# Millions of parameters of the image tower, the text decoder and both, as table 1 of CoCa's paper
# has them: the largest rounded to digits, so that its decoder is 1.1 B where the sizes make 1.18.
COCA_TABLE = {"base": (86, 297, 383), "large": (303, 484, 787), "2b": (1000, 1180, 2180)}


@pytest.mark.parametrize("size", COCA_TABLE)
def test_coca_s_own_sizes_have_the_parameters_of_the_paper_s_table(size):
    kwargs = dual_encoder_preset(f"coca/{size}")
    model = jax.eval_shape(lambda: nnx.state(CoCa(**kwargs, rngs=nnx.Rngs(0)), nnx.Param))
    sizes = {
        name: sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(part)) / 1e6
        for name, part in nnx.to_pure_dict(model).items()
    }
    poolers = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(model["image"]["head"])) / 1e6
    found = (sizes["image"] - poolers, sizes["text"] + sizes["decoder"], sum(sizes.values()))
    for got, published in zip(found, COCA_TABLE[size], strict=True):
        assert abs(got / published - 1) < 0.02
    if size == "2b":  # cut to two digits, without the poolers, the table's 1.1 and 2.1
        assert 1100 < found[1] < 1200 and 2100 < found[2] - poolers < 2200


def test_an_unknown_resnet_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="one of RN50, RN101, .*, got 'RN18'"):
        dual_encoder_preset("clip/RN18")


def test_an_unknown_family_is_refused_with_the_known_ones():
    with pytest.raises(
        ValueError,
        match="family of albef, blip, blip2, clip, clipa, coca, flip, lit, openai, openvision2, "
        "siglip, siglip2, siglip2_naflex, got 'simclr/",
    ):
        dual_encoder_preset("simclr/B/16")
