"""Beam search: the best of several captions that are written at the same time."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from vlp.generation.contract import Captions, Form, form_of, possible
from vlp.models.protocols import WritesCaptions
from vlp.settings import handing_on

MOST_BEAMS = 1024


class _State(NamedTuple):
    """What goes from position to position; beams are in descending order.

    Attributes:
        position: of the last tokens, from 0.
        ids, totals: the captions being written, padded, and their log-probabilities.
        cache: of the model, whose rows are all beams of the first image, of the second, ...
        ended_ids, scores: the captions that have ended, and their scores; minus infinity where
            there are not so many yet.
        open: whether what is being written can still become better than all of these.
    """

    position: Int[Array, ""]
    ids: Int[Array, "n b l"]
    totals: Float[Array, "n b"]
    cache: Any
    ended_ids: Int[Array, "n b l"]
    scores: Float[Array, "n b"]
    open: Bool[Array, " n"]


def check_beams(num_beams: int, *, length_penalty: float) -> None:
    """Raises ValueError for settings of beam search that no model could write by."""
    if not 1 <= num_beams <= MOST_BEAMS:
        raise ValueError(f"num_beams must be 1 to {MOST_BEAMS}, got {num_beams}; try 3")
    if not math.isfinite(length_penalty):
        raise ValueError(f"length_penalty must be a finite number, got {length_penalty}; try 1.0")


@handing_on(form_of)
def beam(
    model: Any,
    image: Any,
    *,
    num_beams: int = 3,
    length_penalty: float = 1.0,
    **settings: Any,
) -> Captions:
    """The best caption that beam search finds; with one beam the greedy one.

    The rule is that of transformers' beam search with early_stopping=False: a caption's score is
    its log-probability over the `length_penalty`-th power of the number of its tokens, without the
    first and the prefix. At each position the best `2 num_beams` continuations are found. Those
    among the first `num_beams` of them that end, by their end token or because the row is full, are
    kept if they are among the best `num_beams` that have; the best that do not end are gone on
    with. A row is finished when the best of these, were it to end now, would be no better than the
    worst that is kept. With a `length_penalty` above 0 that is a heuristic: a longer caption might
    have been better. Departs from transformers: padding is never written.

    Args:
        model: see `vlp.models.protocols.WritesCaptions`.
        image: `encode_image(...)`.
        num_beams: captions written at the same time for each image.
        length_penalty: above 0 favours long captions, below 0 short ones.
        **settings: see `form_of`.

    Returns:
        Ids, and the score of each.

    Raises:
        ValueError: when a setting is out of its range; otherwise as `greedy`.

    References:
        Wolf et al., transformers, https://github.com/huggingface/transformers
        (generation/utils.py, `_beam_search`).
    """
    check_beams(num_beams, length_penalty=length_penalty)
    form = form_of(model, **settings)
    length = form.length
    first, cache = model.start_caption(image, length=length)
    n = first.shape[0]
    ids = jnp.full((n, num_beams, length), model.pad_id, jnp.int32)
    nothing = jnp.full((n, num_beams), -jnp.inf, jnp.float32)
    state = _State(
        position=jnp.int32(0),
        ids=ids.at[:, :, 0].set(first[:, None]),
        totals=nothing.at[:, 0].set(0.0),  # all begin alike: only one of them is gone on with
        cache=jax.tree.map(lambda leaf: jnp.repeat(leaf, num_beams, axis=1), cache),
        ended_ids=ids,
        scores=nothing,
        open=jnp.ones(n, bool),
    )

    def unfinished(state: _State) -> Bool[Array, ""]:
        return (state.position < length - 1) & jnp.any(state.open)

    def step(state: _State) -> _State:
        return _step(model, state, form=form, length_penalty=length_penalty)

    state = jax.lax.while_loop(unfinished, step, state)
    return Captions(state.ended_ids[:, 0], state.scores[:, 0])


def _step(model: WritesCaptions, state: _State, *, form: Form, length_penalty: float) -> _State:
    """All beams, one token longer."""
    position, (n, num_beams) = state.position, state.totals.shape
    last = jax.lax.dynamic_index_in_dim(state.ids, position, axis=2, keepdims=False)
    logits, cache = model.next_token(state.cache, last.reshape(-1), position)
    said = possible(model, jax.nn.log_softmax(logits), position, form)
    v = said.shape[1]
    totals = (state.totals[:, :, None] + said.reshape(n, num_beams, v)).reshape(n, -1)
    totals, best = jax.lax.top_k(totals, min(2 * num_beams, totals.shape[1]))
    parents, tokens = best // v, (best % v).astype(jnp.int32)
    ids = _rows(state.ids, parents).at[:, :, position + 1].set(tokens)
    ended = (tokens == model.end_id) | (position + 2 == form.length)

    written = jnp.maximum(position + 1 - len(form.prefix), 1)  # of the prefix nothing is
    power = written.astype(jnp.float32) ** length_penalty
    kept = ended & (jnp.arange(ended.shape[1]) < num_beams)[None] & state.open[:, None]
    scores = jnp.where(kept, totals / power, -jnp.inf)
    scores, order = jax.lax.top_k(jnp.concatenate([state.scores, scores], axis=1), num_beams)
    ended_ids = _rows(jnp.concatenate([state.ended_ids, ids], axis=1), order)

    totals, going_on = jax.lax.top_k(jnp.where(ended, -jnp.inf, totals), num_beams)
    parents = jnp.take_along_axis(parents, going_on, axis=1)
    places = (parents + num_beams * jnp.arange(n)[:, None]).reshape(-1)
    return _State(
        position=position + 1,
        ids=_rows(ids, going_on),
        totals=totals,
        cache=jax.tree.map(lambda leaf: leaf[:, places], cache),
        ended_ids=ended_ids,
        scores=scores,
        open=state.open & (totals[:, 0] / power > scores[:, -1]),
    )


def _rows(ids: Int[Array, "n b l"], order: Int[Array, "n k"]) -> Int[Array, "n k l"]:
    return jnp.take_along_axis(ids, order[:, :, None], axis=1)
