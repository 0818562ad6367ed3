"""The BERT tower gives what transformers' BertModel gives, with the same weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from transformers import BertConfig, BertModel

from tests.peers.copied import BERT, Tensors, assert_same, randomised, tower
from vlp.models import Bert

SIZES = dict(vocab_size=60, length=14, width=32, depth=3, num_heads=4, mlp_dim=56)
PAD = 3


@pytest.fixture(scope="module")
def theirs():
    config = BertConfig(
        vocab_size=60,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=56,
        max_position_embeddings=14,
        pad_token_id=PAD,
    )
    return randomised(BertModel(config))


def ours_like(theirs, **kwargs):
    tensors = Tensors(theirs)
    params = {
        "tokens": tensors["embeddings.word_embeddings.weight"],
        "positions": tensors["embeddings.position_embeddings.weight"],
        "types": tensors["embeddings.token_type_embeddings.weight"],
        "embed_norm": tensors.norm("embeddings.LayerNorm"),
        "stack": tensors.stack("encoder.layer", 3, BERT),
        "pooler": tensors.linear("pooler.dense"),
    }
    if not kwargs.get("pooler", True):
        del params["pooler"]
    return tower(lambda: Bert(**SIZES, pad_id=PAD, **kwargs, rngs=nnx.Rngs(0)), params)


def text():
    rng = np.random.default_rng(0)
    text = rng.integers(4, 60, (4, 11))
    for row, length in enumerate((11, 6, 2, 9)):
        text[row, length:] = PAD
    return text


def token_types():
    return np.random.default_rng(1).integers(0, 2, (4, 11))


def run(theirs, **inputs):
    with torch.no_grad():
        return theirs(
            input_ids=torch.tensor(text()),
            attention_mask=torch.tensor(text() != PAD).int(),
            output_hidden_states=True,
            **inputs,
        )


@pytest.mark.parametrize("segments", [False, True])
def test_pooled_vectors_and_tokens_are_theirs(theirs, segments):
    types = token_types() if segments else None
    want = run(theirs, **({"token_type_ids": torch.tensor(types)} if segments else {}))
    types = None if types is None else jnp.int32(types)
    pooled, tokens = jax.jit(lambda ours, x: ours(x, token_types=types))(
        ours_like(theirs), jnp.int32(text())
    )
    assert_same(pooled, want.pooler_output)
    assert_same(tokens, want.last_hidden_state)


def test_every_hidden_state_is_theirs(theirs):
    want = run(theirs).hidden_states
    states = jax.jit(lambda ours, x: ours.hidden_states(x))(ours_like(theirs), jnp.int32(text()))
    assert len(states) == len(want) == 4
    for our_state, their_state in zip(states, want, strict=True):
        assert_same(our_state, their_state)


def test_without_its_pooler_the_class_token_or_the_mean_leaves_as_it_is(theirs):
    want = run(theirs).last_hidden_state
    shares = torch.tensor(text() != PAD).float()
    mean = (want * shares[:, :, None]).sum(1) / shares.sum(1, keepdim=True)
    for pool, pooled in (("cls", want[:, 0]), ("mean", mean)):
        ours = ours_like(theirs, pool=pool, pooler=False)
        assert_same(ours(jnp.int32(text()))[0], pooled)
