"""Spectrograms as transformers makes them for AST."""

import numpy as np
import pytest
from transformers import ASTFeatureExtractor

from data_pipelines.audio import Spectrogram


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
