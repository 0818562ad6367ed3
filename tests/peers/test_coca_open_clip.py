"""CoCa gives what open_clip's gives, with the same weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from open_clip.coca_model import CoCa as Theirs

from vlp.interop import layout
from vlp.models.coca import CoCa

PAD, VOCAB = 0, 40
SHARED = dict(activation="gelu", norm_eps=1e-5)


def configs(name):
    """open_clip's `coca_ViT-B-32` and `coca_base`, shrunk, and ours for the same."""
    pooled = name == "coca_ViT-B-32"
    embed_dim, width = (32, 32) if pooled else (24, 48)
    vision = dict(image_size=32, layers=2, width=48, patch_size=8, head_width=16)
    text = dict(context_length=9, vocab_size=VOCAB, width=width, heads=4, layers=2)
    if pooled:
        vision |= dict(attentional_pool=True, attn_pooler_heads=4, attn_pooler_queries=7)
    theirs = dict(
        embed_dim=embed_dim,
        vision_cfg=vision | dict(output_tokens=True),
        text_cfg=text | dict(embed_cls=True, output_tokens=True),
        multimodal_cfg=text | dict(layers=3, attn_pooler_heads=4),
    )
    pool = dict(
        pool="queries", class_token=True, queries=dict(width=32, num_queries=7, num_heads=4)
    )
    ours = dict(
        image=dict(image_size=32, patch_size=8, width=48, depth=2, num_heads=3, pre_norm=True)
        | dict(patch_bias=False, **(pool if pooled else {}), **SHARED),
        text=dict(vocab_size=VOCAB, length=9, width=width, depth=2, num_heads=4)
        | dict(pool="cls_last", pad_id=PAD, **SHARED),
        decoder=dict(depth=3, num_heads=4, **SHARED),
        embed_dim=embed_dim,
    )
    return theirs, ours


def make_theirs(config):
    torch.manual_seed(0)
    model = Theirs(**config, pad_id=PAD)
    for parameter in model.parameters():  # the decoder's vocabulary is left uninitialised there
        scale = 0.2 if parameter.ndim > 1 else 0.5
        torch.nn.init.normal_(parameter, std=scale)
    torch.nn.init.constant_(model.logit_scale, 2.0)
    return model.eval()


def block_rules(attention=None):
    """A residual block of open_clip; of its attention, the rules for a single sequence if none."""
    attention = attention or [
        layout.transposed("attention/qkv/kernel", "attn.in_proj_weight"),
        layout.same("attention/qkv/bias", "attn.in_proj_bias"),
    ]
    return [
        *layout.norm("norm1", "ln_1"),
        *attention,
        *layout.linear("attention/out", "attn.out_proj"),
        *layout.norm("norm2", "ln_2"),
        *layout.linear("mlp/up", "mlp.c_fc"),
        *layout.linear("mlp/down", "mlp.c_proj"),
    ]


def cross_rules():
    reading = layout.split_linear(
        ("attention/query", "attention/key_value"), "attn.in_proj_weight", "attn.in_proj_bias"
    )
    return block_rules([*layout.norm("norm_context", "ln_1_kv"), *reading])


def query_pool_rules():
    """Queries of another width than the keys have separate matrices there, but one bias."""
    there, ours = "visual.attn_pool.attn", "image/head/attention"
    key_value = layout.Rule(
        (f"{ours}/key_value/kernel",),
        (f"{there}.k_proj_weight", f"{there}.v_proj_weight"),
        lambda *tensors: [np.concatenate([tensor.T for tensor in tensors], axis=1)],
        lambda array: [part.T for part in np.split(array, 2, axis=1)],
    )
    bias = layout.Rule(
        (f"{ours}/query/bias", f"{ours}/key_value/bias"),
        (f"{there}.in_proj_bias",),
        lambda tensor: np.split(tensor, [len(tensor) // 3]),
        lambda *arrays: [np.concatenate(arrays)],
    )
    return [
        layout.same("image/head/queries", "visual.attn_pool.query"),
        *layout.norm("image/head/norm_query", "visual.attn_pool.ln_q"),
        *layout.norm("image/head/norm_context", "visual.attn_pool.ln_k"),
        layout.transposed(f"{ours}/query/kernel", f"{there}.q_proj_weight"),
        key_value,
        bias,
        *layout.linear(f"{ours}/out", f"{there}.out_proj"),
    ]


def rules(pooled):
    """All of CoCa, ours and theirs."""

    def blocks(each, ours, theirs, depth):
        return layout.layers(each, ours=ours, theirs=theirs + ".{}", depth=depth)

    return [
        *layout.convolution("image/patches/linear", "visual.conv1", patch_size=8, bias=False),
        layout.same("image/class_token", "visual.class_embedding"),
        layout.same("image/positions", "visual.positional_embedding"),
        *layout.norm("image/pre_norm", "visual.ln_pre"),
        *blocks(block_rules(), "image/stack/blocks", "visual.transformer.resblocks", 2),
        *(query_pool_rules() if pooled else []),
        *layout.norm("image/norm", "visual.ln_post"),
        layout.same("image_projection/kernel", "visual.proj"),
        layout.same("text/tokens", "text.token_embedding.weight"),
        layout.same("text/positions", "text.positional_embedding"),
        layout.same("text/class_token", "text.cls_emb"),
        *blocks(block_rules(), "text/stack/blocks", "text.transformer.resblocks", 2),
        *layout.norm("text/norm", "text.ln_final"),
        layout.same("text_projection/kernel", "text.text_projection"),
        *blocks(block_rules(), "decoder/stack/blocks/own", "text_decoder.resblocks", 3),
        *blocks(cross_rules(), "decoder/stack/blocks/cross", "text_decoder.cross_attn", 3),
        *layout.norm("decoder/norm", "text_decoder.ln_final"),
        layout.same("decoder/vocabulary/kernel", "text_decoder.text_projection"),
        layout.same("log_scale", "logit_scale"),
    ]


def make_ours(kwargs, theirs, pooled):
    graphdef, state = nnx.split(nnx.eval_shape(lambda: CoCa(**kwargs, rngs=nnx.Rngs(0))))
    flat = {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf.shape
        for path, leaf in jax.tree.leaves_with_path(nnx.to_pure_dict(state))
    }
    tensors = {name: tensor.numpy() for name, tensor in theirs.state_dict().items()}
    arrays = layout.read_params(rules(pooled), tensors, flat)

    def fill(path, leaf):
        return jnp.asarray(arrays[jax.tree_util.keystr(path, simple=True, separator="/")])

    return graphdef, jax.tree_util.tree_map_with_path(fill, nnx.to_pure_dict(state))


@pytest.mark.parametrize("name", ["coca_ViT-B-32", "coca_base"])
def test_embeddings_tokens_and_captions_are_open_clip_s(name):
    pooled = name == "coca_ViT-B-32"
    their_config, kwargs = configs(name)
    theirs = make_theirs(their_config)
    graphdef, params = make_ours(kwargs, theirs, pooled)
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    text = np.int32([[1, 5, 9, 2, 0, 0, 0, 0], [1, 4, 4, 8, 30, 7, 6, 2], [1, 2, 0, 0, 0, 0, 0, 0]])

    def run(params, images, text):
        model = nnx.merge(graphdef, params)
        image, caption = model.encode_image(images), model.encode_text(text)
        return image, caption, model.decode(image, caption, text)

    image, caption, logits = jax.jit(run)(params, images, text)
    pixels = torch.from_numpy((images / 255 - 0.5) / 0.5).float().permute(0, 3, 1, 2)
    ids = torch.from_numpy(text).long()
    with torch.no_grad():
        want = theirs(pixels, ids)
        _, image_tokens = theirs._encode_image(pixels)
        _, text_tokens = theirs._encode_text(ids)

    def same(ours, tensor):
        assert ours.shape == tuple(tensor.shape)
        np.testing.assert_allclose(ours, tensor, rtol=1e-5, atol=1e-5)

    same(image.embedding, want["image_features"])
    same(caption.embedding, want["text_features"])
    same(image.tokens[:, 1:], image_tokens)
    same(caption.tokens, text_tokens)
    same(logits, want["logits"])
    np.testing.assert_array_equal(text[:, 1:], want["labels"])
