"""Hidden words told from the rest of the caption, with its image and with another one."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from vlp.metrics import score_ranks

SHARE = 0.15
IMAGES = ("own_image", "other_image")


def hide_words(
    text: Int[np.ndarray, "m l"],
    *,
    samples: Int[np.ndarray, " m"],
    mask_id: int,
    pad_id: int,
) -> tuple[Int[np.ndarray, "m l"], Bool[np.ndarray, "m l"]]:
    """The texts with 15 % of their words hidden, one at least, and where.

    The first token and the last, which is known from the padding behind it, are no words. Which
    words are hidden follows from the sample's index alone, so that every model is asked the same.

    Args:
      text: Token ids; the first token, words, the end token, padding.
      samples: Index of each text's sample.
      mask_id: What is shown instead.
      pad_id: Of padding.

    References:
      Devlin et al., 2019 (BERT), https://arxiv.org/abs/1810.04805, section 3.1; departs: a hidden
      word always shows the mask, never another word or itself, which only training needs.
    """
    hidden = np.zeros(text.shape, bool)
    for row, (ids, sample) in enumerate(zip(text, samples, strict=True)):
        words = np.flatnonzero(ids != pad_id)[1:-1]
        if len(words):
            count = max(1, round(SHARE * len(words)))
            chosen = np.random.default_rng(int(sample)).permutation(words)[:count]
            hidden[row, chosen] = True
    return np.where(hidden, np.int32(mask_id), text), hidden


def guess(
    model: Any, image: Any, shown: Int[Array, "n l"], text: Int[Array, "n l"]
) -> dict[str, Array]:
    """How well each token of `text` is told from `shown` and the image: its rank, and nats."""
    logits = model.predict_tokens(image, shown)
    flat = logits.reshape(-1, logits.shape[-1])
    ids = jnp.arange(flat.shape[1], dtype=text.dtype)
    ranks = score_ranks(flat, text.reshape(-1)[:, None] == ids[None])
    said = jnp.take_along_axis(jax.nn.log_softmax(logits), text[..., None], axis=2)[..., 0]
    return {"rank": ranks.reshape(text.shape), "nats": -said}


def masked_words(
    own: dict[str, np.ndarray],
    other: dict[str, np.ndarray],
    *,
    hidden: Bool[np.ndarray, "m l"],
    vocab_size: int,
) -> dict[str, dict[str, float | int]]:
    """Top-1, top-5 and nats a hidden word, with the caption's image and with another one.

    Args:
      own: What `guess` said, as arrays `[m, l]`, of each text with its image.
      other: Likewise with another image.
      hidden: Where a word was hidden.
      vocab_size: Chance is one token among so many.

    Returns:
      `metrics` and `chance` with the keys `own_image/top1`, `own_image/top5`, `own_image/nats` and
      `other_image/...`, and `counts`. The more the two differ, the more the image tells.

    Raises:
      ValueError: If no word is hidden.
    """
    words = int(hidden.sum())
    if not words:
        raise ValueError("masked_words needs captions with a word at least, got none")
    result: dict[str, dict[str, float | int]] = {"metrics": {}, "chance": {}, "counts": {}}
    for name, said in zip(IMAGES, (own, other), strict=True):
        ranks, nats = said["rank"][hidden], said["nats"][hidden]
        for k in (1, 5):
            result["metrics"][f"{name}/top{k}"] = float((ranks < k).mean())
            result["chance"][f"{name}/top{k}"] = min(1.0, k / vocab_size)
        result["metrics"][f"{name}/nats"] = float(nats.mean(dtype=np.float64))
        result["chance"][f"{name}/nats"] = math.log(vocab_size)
        result["counts"][f"{name}/queries"] = words
    return result
