"""A tiny model that reads images and texts together, and its data."""

import jax.numpy as jnp
import numpy as np
from flax import nnx

from vlp.models.base import Encoded, unit_norm

VOCABULARY, LENGTH, PAD, END, MASK = 30, 7, 0, 1, 29


class Fusion(nnx.Module):
    """Colours of the halves of an image, vectors of tokens; the match is no function of cosines."""

    def __init__(self, *, seed=0, width=5):
        rngs = nnx.Rngs(seed)
        self.colours = nnx.Linear(3, width, rngs=rngs)
        self.table = nnx.Embed(VOCABULARY, width, rngs=rngs)

    def encode_image(self, images):
        halves = images.reshape(len(images), 2, -1, 3).astype(jnp.float32).mean(axis=2) / 255
        tokens = self.colours(halves)
        pooled = tokens.mean(axis=1)
        return Encoded(unit_norm(pooled), tokens, pooled)

    def encode_text(self, text):
        tokens = self.table(text)
        pooled = tokens.mean(axis=1)
        return Encoded(unit_norm(pooled), tokens, pooled)

    def match(self, image, caption, text):
        far = jnp.abs(image.tokens[:, :, None] - caption.tokens[:, None]).sum(axis=-1)
        near = 3.0 - far.min(axis=(1, 2)) + 0.1 * (text[:, 1] % 7).astype(jnp.float32)
        return jnp.stack([far.mean(axis=(1, 2)), near], axis=1)

    def predict_tokens(self, image, text):
        mixed = self.encode_text(text).tokens + image.tokens.mean(axis=1)[:, None]
        return 3.0 * mixed @ self.table.embedding[...].T


def captions(rng, n):
    """Rows of a first token, one to four words, an end token and padding."""
    text = np.full((n, LENGTH), PAD, np.int32)
    for row in text:
        words = rng.integers(1, 5)
        row[: words + 2] = [2, *rng.integers(3, MASK, words), END]
    return text


def batches(images, size, *, bad=()):
    """As the host makes them; `bad` rows cannot be read."""
    for start in range(0, len(images), size):
        part = images[start : start + size]
        fill = size - len(part)
        ids = [*range(start, start + len(part)), *[-1] * fill]
        yield {
            "image": np.concatenate([part, np.zeros((fill, *part.shape[1:]), np.uint8)]),
            "weight": np.array([i >= 0 and i not in bad for i in ids], np.float32),
            "id": np.array(ids),
        }
