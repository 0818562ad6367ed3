"""A model that writes captions by a table: small enough to try every caption there is."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

PAD, END, BEGIN = 0, 1, 2


class TableModel:
    """What follows depends on the position, on the last two tokens and on the image.

    An image is a row of logits. The last but one of the tokens lies in the cache, so that a search
    which mixes up its rows is found out.
    """

    end_id, pad_id = END, PAD

    def __init__(self, *, vocab_size=6, caption_length=6, seed=0, sharpness=1.5):
        shape = (caption_length, vocab_size, vocab_size, vocab_size)
        table = np.random.default_rng(seed).normal(size=shape) * sharpness
        self.table = jnp.asarray(table, jnp.float32)
        self.caption_length = caption_length

    def start_caption(self, image, *, length):
        n = image.shape[0]
        cache = {"image": image[None], "before": jnp.zeros((1, n), jnp.int32)}
        return jnp.full((n,), BEGIN, jnp.int32), cache

    def next_token(self, cache, ids, position):
        logits = self.table[position, cache["before"][0], ids] + cache["image"][0]
        return logits, {**cache, "before": ids[None]}


def images(n=5, vocab_size=6, seed=1):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(n, vocab_size)), jnp.float32)


def log_probs(model, image, caption):
    """Of each token of a caption behind the first, float64, one token at a time."""
    before, found = 0, []
    for position, (token, following) in enumerate(itertools.pairwise(caption)):
        logits = np.float64(model.table[position, before, token]) + np.float64(image)
        found.append(logits[following] - np.log(np.exp(logits).sum()))
        before = token
    return found


def every_caption(vocab_size, length):
    """All captions in a row of that length: they end, or fill the row."""
    words = [token for token in range(vocab_size) if token not in (PAD, END)]
    for count in range(length):
        for said in itertools.product(words, repeat=count):
            if count == length - 1:
                yield (BEGIN, *said)
            else:
                yield (BEGIN, *said, END)


def caption_of(row):
    """A row of ids without its padding."""
    row = np.asarray(row).tolist()
    return tuple(row[: row.index(END) + 1] if END in row else row)


def run(search, model, image, **settings):
    return jax.jit(lambda image: search(model, image, **settings))(image)
