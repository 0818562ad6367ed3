"""One caption an image: the loop of greedy and of sampled captions."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from vlp.generation.contract import Captions, form_of, possible


class _State(NamedTuple):
    """What goes from position to position.

    Attributes:
        position: of the last tokens, from 0.
        ids: the captions so far, padded.
        total: their log-probabilities.
        written: how many tokens each has, without the first and the prefix.
        ended: which have their end token.
        cache: of the model.
    """

    position: Int[Array, ""]
    ids: Int[Array, "n l"]
    total: Float[Array, " n"]
    written: Int[Array, " n"]
    ended: Bool[Array, " n"]
    cache: Any


def write(
    model: Any,
    image: Any,
    choose: Callable[[Float[Array, "n v"], Int[Array, ""]], Int[Array, " n"]],
    **settings: Any,
) -> Captions:
    """Captions of tokens chosen one after the other, until all have ended.

    Args:
        model: see `vlp.models.protocols.WritesCaptions`.
        image: `encode_image(...)`.
        choose: from the logits, minus infinity for what must not follow, and the position of the
            token that they follow, to one id a row.
        **settings: see `form_of`.

    Raises:
        ValueError: see `form_of`.
    """
    form = form_of(model, **settings)
    length = form.length
    first, cache = model.start_caption(image, length=length)
    n = first.shape[0]
    state = _State(
        position=jnp.int32(0),
        ids=jnp.full((n, length), model.pad_id, jnp.int32).at[:, 0].set(first),
        total=jnp.zeros(n, jnp.float32),
        written=jnp.zeros(n, jnp.int32),
        ended=jnp.zeros(n, bool),
        cache=cache,
    )

    def unfinished(state: _State) -> Bool[Array, ""]:
        return (state.position < length - 1) & ~jnp.all(state.ended)

    def step(state: _State) -> _State:
        # Captions that have ended go on with padding; what the model makes of it is thrown away.
        last = jax.lax.dynamic_index_in_dim(state.ids, state.position, axis=1, keepdims=False)
        logits, cache = model.next_token(state.cache, last, state.position)
        chosen = choose(possible(model, logits, state.position, form), state.position)
        counted = ~state.ended & (state.position >= len(form.prefix))
        said = jnp.take_along_axis(jax.nn.log_softmax(logits), chosen[:, None], axis=1)[:, 0]
        chosen = jnp.where(state.ended, model.pad_id, chosen).astype(jnp.int32)
        return _State(
            position=state.position + 1,
            ids=state.ids.at[:, state.position + 1].set(chosen),
            total=state.total + jnp.where(counted, said, 0.0),
            written=state.written + counted.astype(jnp.int32),
            ended=state.ended | (chosen == model.end_id),
            cache=cache,
        )

    state = jax.lax.while_loop(unfinished, step, state)
    return Captions(state.ids, state.total / state.written.astype(jnp.float32))
