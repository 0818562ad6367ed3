"""Vision transformers give what open_clip, timm and transformers give, with the same weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import timm
import torch
from flax import nnx
from open_clip.transformer import QuickGELU
from open_clip.transformer import VisionTransformer as OpenClipViT
from transformers import ViTConfig, ViTModel

from tests.peers.copied import OPEN_CLIP, TIMM, VIT_MODEL, Tensors, assert_same, randomised, tower
from vlp.models import VisionTransformer

SIZE, PATCH, WIDTH, DEPTH, HEADS = 24, 8, 32, 3, 4
SIZES = dict(
    image_size=SIZE, patch_size=PATCH, width=WIDTH, depth=DEPTH, num_heads=HEADS, mlp_dim=96
)


def pixels():
    return np.random.default_rng(0).normal(size=(3, SIZE, SIZE, 3)).astype(np.float32)


def turned():
    return torch.tensor(pixels().transpose(0, 3, 1, 2))


def outputs(ours):
    """Pooled vectors, tokens and hidden states."""
    return jax.jit(lambda tower, x: (*tower(x), tower.hidden_states(x)))(
        ours, jnp.asarray(pixels())
    )


# open_clip's settings, and ours.
CLIPA = (
    dict(no_ln_pre=True, pool_type="avg", final_ln_after_pool=True),
    dict(pre_norm=False, pool="mean", class_token=True, norm_after_pool=True),
)
OPEN_CLIP_VARIANTS = {
    "clip": ({}, {}),
    "quick gelu": (dict(act_layer=QuickGELU), dict(activation="quick_gelu")),
    "clipa": CLIPA,
    "average of normalised tokens": (dict(pool_type="avg"), dict(pool="mean", class_token=True)),
    "normalised class token": (dict(final_ln_after_pool=True), dict(norm_after_pool=True)),
    "layer scale": (dict(ls_init_value=0.1), dict(layer_scale=0.1)),
}


@pytest.mark.parametrize("variant", OPEN_CLIP_VARIANTS)
def test_open_clip(variant):
    their_settings, settings = OPEN_CLIP_VARIANTS[variant]
    theirs = randomised(
        OpenClipViT(
            SIZE, PATCH, WIDTH, DEPTH, HEADS, 3.0, output_dim=16, output_tokens=True,
            **their_settings,
        )
    )  # fmt: skip
    tensors, scales = Tensors(theirs), ("ls_1.gamma", "ls_2.gamma") if "layer" in variant else ()
    params = {
        "patches": tensors.convolution("conv1"),
        "class_token": tensors["class_embedding"],
        "positions": tensors["positional_embedding"],
        "stack": tensors.stack("transformer.resblocks", DEPTH, OPEN_CLIP, scales=scales),
        "norm": tensors.norm("ln_post"),
    }
    settings = dict(pre_norm=True, patch_bias=False, norm_eps=1e-5) | settings
    if settings["pre_norm"]:
        params["pre_norm"] = tensors.norm("ln_pre")
    ours = tower(lambda: VisionTransformer(**SIZES, **settings, rngs=nnx.Rngs(0)), params)
    pooled, tokens, states = outputs(ours)
    with torch.no_grad():
        want, want_tokens = theirs(turned())
        middle = theirs.forward_intermediates(turned(), output_fmt="NLC")["image_intermediates"]
    assert_same(pooled @ tensors["proj"], want)
    assert_same(tokens[:, 1:], want_tokens)  # theirs are without the class token
    assert len(states) == len(middle) + 1 == DEPTH + 1
    for our_state, their_state in zip(states[1:], middle, strict=True):
        assert_same(our_state[:, 1:], their_state)


# timm's settings, and ours.
TIMM_VARIANTS = {
    "vit_base_patch32_clip_224": (
        dict(),
        dict(pool="cls", pre_norm=True, patch_bias=False, norm_eps=1e-5),
    ),
    "vit_base_patch32_clip_quickgelu_224": (
        dict(),
        dict(
            pool="cls", pre_norm=True, patch_bias=False, norm_eps=1e-5, activation="quick_gelu"
        ),
    ),
    "vit_base_patch16_siglip_224": (dict(), dict(pool="map", activation="gelu")),
    "vit_base_patch32_siglip_256": (dict(), dict(pool="map", activation="gelu_tanh")),
    "vit_base_patch16_siglip_gap_224": (dict(), dict(pool="mean")),
    "vit_base_patch16_224": (dict(), dict(pool="cls")),
    "vit_small_patch16_224": (
        dict(global_pool="avg", init_values=0.1),
        dict(pool="mean", class_token=True, norm_after_pool=True, layer_scale=0.1),
    ),
    "vit_tiny_patch16_224": (dict(global_pool="map"), dict(pool="map", class_token=True)),
}  # fmt: skip


@pytest.mark.parametrize("name", TIMM_VARIANTS)
def test_timm(name):
    their_settings, settings = TIMM_VARIANTS[name]
    theirs = randomised(
        timm.create_model(
            name, img_size=SIZE, patch_size=PATCH, embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS,
            mlp_ratio=3.0, num_classes=0, **their_settings,
        )
    )  # fmt: skip
    tensors, scales = (
        Tensors(theirs),
        ("ls1.gamma", "ls2.gamma") * ("init_values" in their_settings),
    )
    params = {
        "patches": tensors.convolution("patch_embed.proj"),
        "positions": tensors["pos_embed"][0],
        "stack": tensors.stack("blocks", DEPTH, TIMM, scales=scales),
        "norm": tensors.norm("fc_norm" if settings.get("norm_after_pool") else "norm"),
    }
    if settings.get("class_token", settings["pool"] == "cls"):
        params["class_token"] = tensors["cls_token"].reshape(-1)
    if settings.get("pre_norm"):
        params["pre_norm"] = tensors.norm("norm_pre")
    if settings["pool"] == "map":
        params["head"] = timm_head(tensors)
    ours = tower(lambda: VisionTransformer(**SIZES, **settings, rngs=nnx.Rngs(0)), params)
    pooled, tokens, states = outputs(ours)
    with torch.no_grad():
        assert_same(pooled, theirs(turned()))
        assert_same(tokens, theirs.forward_features(turned()))
        last = theirs.forward_intermediates(turned(), output_fmt="NLC", intermediates_only=True)
    for our_state, their_state in zip(states[1:], last, strict=True):
        assert_same(our_state[:, tokens.shape[1] - their_state.shape[1] :], their_state)


def timm_head(tensors):
    name = "attn_pool"
    return {
        "probe": tensors[f"{name}.latent"].reshape(-1),
        "query": tensors.linear(f"{name}.q"),
        "key_value": tensors.linear(f"{name}.kv"),
        "out": tensors.linear(f"{name}.proj"),
        "norm": tensors.norm(f"{name}.norm"),
        "mlp": {
            "up": tensors.linear(f"{name}.mlp.fc1"),
            "down": tensors.linear(f"{name}.mlp.fc2"),
        },
    }


@pytest.mark.parametrize("pooler", [True, False])
def test_vit_model_of_transformers(pooler):
    config = ViTConfig(
        hidden_size=WIDTH,
        num_hidden_layers=DEPTH,
        num_attention_heads=HEADS,
        intermediate_size=96,
        image_size=SIZE,
        patch_size=PATCH,
    )
    theirs = randomised(ViTModel(config, add_pooling_layer=pooler))
    tensors = Tensors(theirs)
    params = {
        "patches": tensors.convolution("embeddings.patch_embeddings.projection"),
        "class_token": tensors["embeddings.cls_token"].reshape(-1),
        "positions": tensors["embeddings.position_embeddings"][0],
        "stack": tensors.stack("layers", DEPTH, VIT_MODEL),
        "norm": tensors.norm("layernorm"),
    }
    if pooler:
        params["pooler"] = tensors.linear("pooler.dense")
    settings = dict(pooler=pooler, norm_eps=1e-12)
    ours = tower(lambda: VisionTransformer(**SIZES, **settings, rngs=nnx.Rngs(0)), params)
    pooled, tokens, states = outputs(ours)
    with torch.no_grad():
        want = theirs(turned(), output_hidden_states=True)
    assert_same(pooled, want.pooler_output if pooler else want.last_hidden_state[:, 0])
    assert_same(tokens, want.last_hidden_state)
    assert len(states) == len(want.hidden_states)
    for our_state, their_state in zip(states, want.hidden_states, strict=True):
        assert_same(our_state, their_state)
