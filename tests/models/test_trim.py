"""Captions without their padding: no embedding changes, and the arrays really are shorter."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.filled import filled
from vlp.models.dual_encoder import DualEncoder
from vlp.models.trim import MULTIPLE, needed_columns, takes_short_rows, trimmed

LENGTH, VOCABULARY, EOS, PAD = 16, 40, 39, 0
TRANSFORMER = dict(
    vocab_size=VOCABULARY, length=LENGTH, width=16, depth=1, num_heads=2, eos_id=EOS, pad_id=PAD
)
BERT = {k: v for k, v in TRANSFORMER.items() if k != "eos_id"} | {"kind": "bert"}
TOWERS = {
    "clip by the end token": TRANSFORMER,
    "clip by the largest id": TRANSFORMER | dict(pool="argmax"),
    "clip that ends and pads alike": TRANSFORMER | dict(pad_id=EOS),
    "causal, padding hidden": TRANSFORMER | dict(mask_padding=True),
    "causal, ends and pads alike, hidden": TRANSFORMER | dict(mask_padding=True, pad_id=EOS),
    "causal, first token": TRANSFORMER | dict(pool="first"),
    "causal, mean": TRANSFORMER | dict(pool="mean"),
    "all see all, end token": TRANSFORMER | dict(causal=False, mask_padding=True),
    "all see all, largest id": TRANSFORMER | dict(causal=False, mask_padding=True, pool="argmax"),
    "all see all, mean": TRANSFORMER | dict(causal=False, mask_padding=True, pool="mean"),
    "all see all, class token": TRANSFORMER | dict(causal=False, mask_padding=True, pool="cls"),
    "all see all, ends and pads alike": TRANSFORMER
    | dict(causal=False, mask_padding=True, pad_id=EOS),
    "bert": BERT,
    "bert by its mean": BERT | dict(pool="mean", pooler=False),
    "bag of words": dict(kind="bow", vocab_size=VOCABULARY, length=LENGTH, width=16, pad_id=PAD),
}
WHOLE = {
    "siglip": TRANSFORMER | dict(causal=False, pool="last"),
    "causal, last place": TRANSFORMER | dict(pool="last"),
    "coca": TRANSFORMER | dict(pool="cls_last"),
    "no mask": TRANSFORMER | dict(causal=False, pool="mean"),
}


def model(text):
    """A text tower alone, every parameter random."""
    return filled(lambda: DualEncoder(image=None, text=text, embed_dim=8, rngs=nnx.Rngs(0)))


def rows(text, *, hostile: bool):
    """Captions of many lengths: words, the end token, padding; and what no tokenizer would say."""
    rng = np.random.default_rng(0)
    pad = text.get("pad_id", PAD)
    ids = np.full((24, LENGTH), pad, np.int32)
    for row, n in enumerate(rng.integers(1, 6, len(ids))):
        ids[row, :n] = rng.integers(1, EOS, n)
        ids[row, n] = EOS
    if hostile:
        ids[0, :3] = pad, 5, EOS  # begins with padding
        ids[1, 2:7] = 5, EOS, 7, pad, EOS  # goes on after its end, with a hole
        ids[2, 1:14] = 5  # longer than all others
        ids[3] = pad
    return ids


@pytest.mark.parametrize("name", TOWERS)
def test_no_embedding_changes_without_the_columns_that_are_left_out(name):
    text = TOWERS[name]
    ids = rows(text, hostile=True)
    needed = needed_columns(text, ids)
    assert (needed <= MULTIPLE).sum() > 5 and (needed > MULTIPLE).any()
    tower, ids = model(text), jnp.asarray(ids)
    whole, short = (tower.encode_text(t).embedding for t in (ids, ids[:, :MULTIPLE]))
    enough = needed <= MULTIPLE
    np.testing.assert_allclose(short[enough], whole[enough], atol=1e-6)


@pytest.mark.parametrize("name", TOWERS)
def test_rows_are_cut_behind_the_longest_caption(name):
    # Six tokens at most, so a multiple of eight is enough.
    ids = rows(TOWERS[name], hostile=False)
    cut = trimmed(TOWERS[name], ids)
    assert takes_short_rows(TOWERS[name])
    assert cut.shape[1] == MULTIPLE
    np.testing.assert_array_equal(cut, ids[:, : cut.shape[1]])


@pytest.mark.parametrize("name", WHOLE)
def test_a_tower_that_sees_its_padding_keeps_it(name):
    ids = rows(WHOLE[name], hostile=True)
    assert not takes_short_rows(WHOLE[name])
    assert trimmed(WHOLE[name], ids).shape == ids.shape


def test_a_caption_without_an_end_is_pooled_at_its_first_token_and_needs_no_more():
    ids = np.full((2, 20), 5, np.int32)
    assert needed_columns(TRANSFORMER, ids).tolist() == [1, 1]


def test_a_row_is_never_cut_beyond_its_length():
    ids = np.full((2, 20), 5, np.int32)
    ids[0, -1] = TRANSFORMER.get("eos_id", 1)
    assert trimmed(TRANSFORMER, ids).shape == (2, 20)  # not divisible by the multiple
