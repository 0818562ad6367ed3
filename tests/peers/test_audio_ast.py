"""Spectrograms and towers as those of AST in transformers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from transformers import ASTConfig, ASTFeatureExtractor, ASTModel

from data_pipelines.audio import Spectrogram
from tests.peers.copied import VIT_MODEL, Tensors, assert_same, randomised, tower
from vlp.models.audio import SpectrogramTransformer


@pytest.mark.filterwarnings("ignore:At least one mel filter has all zero values")
@pytest.mark.parametrize("seconds", [0.5, 3.0, 11.0])
@pytest.mark.parametrize(("frames", "n_mels"), [(1024, 128), (204, 64)])
def test_the_defaults_give_the_features_of_ast(seconds, frames, n_mels):
    wave = np.random.default_rng(0).normal(0.02, 0.1, int(16_000 * seconds)).astype(np.float32)
    wave *= np.sin(np.arange(len(wave)) / 3000, dtype=np.float32)
    peer = ASTFeatureExtractor(max_length=frames, num_mel_bins=n_mels)
    wanted = peer(wave, sampling_rate=16_000, return_tensors="np")["input_values"][0]
    spectrogram = Spectrogram(frames=frames, n_mels=n_mels)
    found = spectrogram.fitted(spectrogram.energies(wave))
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_the_tower_is_that_of_ast_without_its_distillation_token():
    settings = dict(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96,
        patch_size=4, frequency_stride=3, time_stride=2, max_length=12, num_mel_bins=10,
    )  # fmt: skip
    theirs = randomised(ASTModel(ASTConfig(**settings)))
    tensors, (rows, columns) = Tensors(theirs), (5, 3)
    kernel = tensors["embeddings.patch_embeddings.projection.weight"][:, 0]  # [w, mel, time]
    positions = tensors["embeddings.position_embeddings"][0]
    by_time = positions[2:].reshape(columns, rows, -1).swapaxes(0, 1).reshape(rows * columns, -1)
    params = {
        "patches": {
            "kernel": kernel.transpose(2, 1, 0).reshape(16, -1),
            "bias": tensors["embeddings.patch_embeddings.projection.bias"],
        },
        "class_token": tensors["embeddings.cls_token"].reshape(-1),
        "positions": np.concatenate([positions[:1], by_time]),
        "stack": tensors.stack("layers", 2, VIT_MODEL),
        "norm": tensors.norm("layernorm"),
    }
    sizes = dict(frames=12, n_mels=10, patch_size=(4, 4), stride=(2, 3), norm_eps=1e-12)
    sizes |= dict(width=32, depth=2, num_heads=4, mlp_dim=96)
    ours = tower(lambda: SpectrogramTransformer(**sizes, rngs=nnx.Rngs(0)), params)
    sounds = np.random.default_rng(0).normal(size=(3, 12, 10)).astype(np.float32)
    pooled, tokens = jax.jit(lambda tower, x: tower(x))(ours, jnp.asarray(sounds))
    with torch.no_grad():
        x = theirs.embeddings(torch.tensor(sounds))
        x = torch.cat([x[:, :1], x[:, 2:]], dim=1)
        for layer in theirs.layers:
            x = layer(x, None)
        x = theirs.layernorm(x)
    assert_same(pooled, x[:, 0])
    theirs_by_time = x[:, 1:].reshape(3, columns, rows, -1).swapaxes(1, 2).flatten(1, 2)
    assert_same(tokens[:, 1:], theirs_by_time)
