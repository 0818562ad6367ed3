import math

import jax
import pytest
from flax import nnx

from vlp.models import DualEncoder, dual_encoder_preset, text_preset, vision_preset
from vlp.models.presets import CLIP_TEXT_SIZES, VISION_SIZES

# Parameters as published, in millions: open_clip's docs/model_profile.csv; the SigLIP pairs with
# the scale and bias, as `transformers` counts them.
PUBLISHED = {
    "clip/ViT-B/32": 151.28,
    "clip/ViT-B/16": 149.62,
    "clip/ViT-L/14": 427.62,
    "clip/ViT-H/14": 986.11,
    "clip/ViT-g/14": 1366.68,
    "clip/ViT-bigG/14": 2539.57,
    "siglip/ViT-B/16": 203.16,
    "siglip/So400m/14": 877.36,
}


def count(kwargs):
    model = jax.eval_shape(lambda: nnx.state(DualEncoder(**kwargs, rngs=nnx.Rngs(0))))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(model))


@pytest.mark.parametrize("name", PUBLISHED)
def test_pairs_have_their_published_number_of_parameters(name):
    length = 16 if "So400m" in name else None  # its 224-pixel release reads 16 tokens
    assert round(count(dual_encoder_preset(name, text_length=length)) / 1e6, 2) == PUBLISHED[name]


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
    with pytest.raises(ValueError, match="size of Ti, S, M, B, L, So400m, H, g, bigG, got"):
        vision_preset(name)


def test_an_unknown_family_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="family of clip, siglip, got 'lit/B/16'"):
        dual_encoder_preset("lit/B/16")
