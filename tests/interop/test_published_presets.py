"""Presets beside open_clip's own configs of the same models, as `import` reads them."""

import pytest

from vlp.interop.open_clip.architectures import find
from vlp.interop.open_clip.config import kwargs
from vlp.models.presets import dual_encoder_preset

# open_clip's name: preset, pixels a side, tokens a caption where the preset's differ.
PAIRS = {
    "ViT-B-32-quickgelu": ("openai/ViT-B/32", 224, None),
    "ViT-B-16-quickgelu": ("openai/ViT-B/16", 224, None),
    "ViT-L-14-336-quickgelu": ("openai/ViT-L/14", 336, None),
    "RN50x4-quickgelu": ("openai/RN50x4", 288, None),
    "ViT-H-14": ("clip/ViT-H/14", 224, None),
    "ViT-bigG-14": ("clip/ViT-bigG/14", 224, None),
    "ViT-B-16-SigLIP": ("siglip/ViT-B/16", 224, None),
    "ViT-L-16-SigLIP-256": ("siglip/ViT-L/16", 256, None),
    "ViT-SO400M-14-SigLIP": ("siglip/So400m/14", 224, 16),
    "ViT-H-14-CLIPA": ("clipa/H/14", 224, None),
}
# Heads and depth among them, which no number of parameters tells.
SIZES = (
    "image_size", "patch_size", "width", "depth", "num_heads", "mlp_dim", "layers", "output_dim",
    "length", "vocab_size",
)  # fmt: skip
FORMS = ("causal", "pre_norm", "class_token", "norm_after_pool", "patch_bias")


@pytest.mark.parametrize("name", PAIRS)
def test_a_preset_is_the_model_of_open_clip_s_config(name):
    preset, pixels, length = PAIRS[name]
    theirs = kwargs(find(name)["model_cfg"])
    ours = dual_encoder_preset(preset, image_size=pixels, text_length=length)
    assert ours["embed_dim"] == theirs["embed_dim"]
    for tower in ("image", "text"):
        said = ours[tower].keys() & theirs[tower].keys() & {*SIZES, *FORMS}
        for key in said:
            value = ours[tower][key]
            assert (list(value) if isinstance(value, tuple) else value) == theirs[tower][key]
        assert len(said & {*SIZES}) >= 4
    for projection in ("image_projection", "text_projection"):
        assert ours.get(projection, "linear") == theirs[projection]
