"""Text transformers give what open_clip and transformers give, with the same weights."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from open_clip.transformer import TextTransformer as OpenClipText
from transformers import CLIPTextConfig, CLIPTextModel

from tests.peers.copied import OPEN_CLIP, TRANSFORMERS, Tensors, assert_same, randomised, tower
from vlp.models import TextTransformer

VOCAB, LENGTH, WIDTH, DEPTH, HEADS = 50, 10, 32, 3, 4
SIZES = dict(
    vocab_size=VOCAB, length=LENGTH, width=WIDTH, depth=DEPTH, num_heads=HEADS, mlp_dim=4 * WIDTH
)
EOS, PAD = 49, 0


def text():
    rng = np.random.default_rng(0)
    text = rng.integers(3, EOS, (4, LENGTH))
    for row, length in enumerate((LENGTH, 6, 2, 9)):
        text[row, length - 1] = EOS
        text[row, length:] = PAD
    return text


def outputs(ours):
    """Pooled vectors, tokens and hidden states."""
    return jax.jit(lambda tower, x: (*tower(x), tower.hidden_states(x)))(ours, jnp.int32(text()))


TANH = partial(torch.nn.GELU, approximate="tanh")
# open_clip's settings, and ours.
VARIANTS = {
    "clip": ({}, dict(pool="argmax")),
    "end of text": (dict(pool_type="eos", eos_id=EOS), dict(pool="eot", eos_id=EOS)),
    "siglip 2": (
        dict(pool_type="last", no_causal_mask=True, act_layer=TANH),
        dict(pool="last", causal=False, activation="gelu_tanh"),
    ),
    "mobileclip": (dict(no_causal_mask=True), dict(pool="argmax", causal=False)),
    "first": (
        dict(pool_type="first", no_causal_mask=True, use_pad_mask=True, pad_id=PAD),
        dict(pool="first", causal=False, mask_padding=True, pad_id=PAD),
    ),
    "coca": (dict(embed_cls=True, pad_id=PAD), dict(pool="cls_last", pad_id=PAD)),
    "coca without causality": (
        dict(embed_cls=True, pad_id=PAD, no_causal_mask=True),
        dict(pool="cls_last", pad_id=PAD, causal=False),
    ),
    "layer scale": (dict(ls_init_value=0.1), dict(pool="argmax", layer_scale=0.1)),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_open_clip(variant):
    their_settings, settings = VARIANTS[variant]
    theirs = randomised(
        OpenClipText(
            LENGTH, VOCAB, WIDTH, HEADS, DEPTH, output_dim=None, output_tokens=True,
            **their_settings,
        )
    )  # fmt: skip
    scales = ("ls_1.gamma", "ls_2.gamma") if "layer" in variant else ()
    tensors = Tensors(theirs)
    params = {
        "tokens": tensors["token_embedding.weight"],
        "positions": tensors["positional_embedding"],
        "stack": tensors.stack("transformer.resblocks", DEPTH, OPEN_CLIP, scales=scales),
        "norm": tensors.norm("ln_final"),
    }
    if "coca" in variant:
        params["class_token"] = tensors["cls_emb"]
    ours = tower(
        lambda: TextTransformer(**SIZES, norm_eps=1e-5, **settings, rngs=nnx.Rngs(0)), params
    )
    pooled, tokens, states = outputs(ours)
    ids = torch.tensor(text())
    with torch.no_grad():
        want, want_tokens = theirs(ids)
        middle = theirs.forward_intermediates(ids, output_fmt="NLC")["text_intermediates"]
    assert_same(pooled, want)
    assert_same(tokens, want_tokens)
    assert len(states) == len(middle) + 1 == DEPTH + 1
    for our_state, their_state in zip(states[1:], middle, strict=True):
        assert_same(our_state[:, :LENGTH], their_state)


@pytest.mark.parametrize("eos_id", [EOS, 2])
def test_clip_text_model_of_transformers(eos_id):
    """With `eos_token_id` 2 it takes the largest id: a rule for configs that name a wrong one."""
    config = CLIPTextConfig(
        vocab_size=VOCAB,
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=DEPTH,
        num_attention_heads=HEADS,
        max_position_embeddings=LENGTH,
        bos_token_id=1,
        eos_token_id=eos_id,
    )
    theirs = randomised(CLIPTextModel(config))
    tensors = Tensors(theirs, "text_model.")
    params = {
        "tokens": tensors["embeddings.token_embedding.weight"],
        "positions": tensors["embeddings.position_embedding.weight"],
        "stack": tensors.stack("encoder.layers", DEPTH, TRANSFORMERS),
        "norm": tensors.norm("final_layer_norm"),
    }
    pool = dict(pool="argmax") if eos_id == 2 else dict(pool="eot", eos_id=EOS)
    settings = dict(activation="quick_gelu", norm_eps=1e-5, **pool)
    ours = tower(lambda: TextTransformer(**SIZES, **settings, rngs=nnx.Rngs(0)), params)
    pooled, tokens, states = outputs(ours)
    with torch.no_grad():
        want = theirs(torch.tensor(text()), output_hidden_states=True)
    assert_same(pooled, want.pooler_output)
    assert_same(tokens, want.last_hidden_state)
    for our_state, their_state in zip(states, want.hidden_states, strict=True):
        assert_same(our_state, their_state)
