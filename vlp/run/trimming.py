"""Captions no longer than the longest of their batch needs, where that changes no loss."""

from collections.abc import Iterator, Mapping
from typing import Any

import jax
from ml_collections import ConfigDict

from data_pipelines.several_texts import ABSENT
from vlp.models.trim import takes_short_rows, trimmed
from vlp.objectives import Objective
from vlp.run.one_state import OneState


class ShortCaptions:
    """Batches without the columns of captions that no row's embedding needs.

    As many shapes are compiled as there are lengths, which are multiples of eight.

    Args:
        batches: a loader's.
        text: settings of the text tower.
    """

    def __init__(self, batches: Any, text: Mapping[str, Any]):
        self._batches, self._text = batches, text

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self

    def __next__(self) -> dict[str, Any]:
        batch = dict(next(self._batches))
        text = batch["text"]
        captions = text.reshape(-1, text.shape[-1])
        there = captions[captions[:, 0] != ABSENT]  # of several, a row may lack some
        return batch | {"text": text[..., : trimmed(self._text, there).shape[1]]}

    def get_state(self) -> dict[str, Any]:
        """The loader's."""
        return self._batches.get_state()

    def metrics(self) -> Mapping[str, float]:
        """The loader's."""
        return self._batches.metrics()


def batches_of(loader: Any, config: ConfigDict, model_kwargs: Mapping[str, Any]) -> Any:
    """What a run trains on: a loader's batches, with short captions if the config says so."""
    batches = OneState(loader)
    return ShortCaptions(batches, model_kwargs["text"]) if config.data.trim_captions else batches


def check_trimming(
    config: ConfigDict, objective: Objective, model_kwargs: Mapping[str, Any]
) -> None:
    """Raises ValueError where a config wants short captions and they would change more than time.

    Args:
        config: of the whole run.
        objective: its objective.
        model_kwargs: of its model.
    """
    if not config.data.trim_captions:
        return
    off = "set config.data.trim_captions to False"
    if not objective.embeddings_alone:
        raise ValueError(
            "config.data.trim_captions needs an objective that reads the embeddings of captions "
            f"alone, clip or siglip, got {config.objective.name}; {off}"
        )
    text = model_kwargs.get("text")
    if not text or not takes_short_rows(text):
        raise ValueError(
            "config.data.trim_captions needs a text tower to which padding means nothing, causal "
            f"or with mask_padding, and that does not pool its last place, got {text}; {off}"
        )
    if jax.process_count() > 1:
        raise ValueError(
            "config.data.trim_captions needs one process, whose batch alone says how long captions "
            f"are, got {jax.process_count()}; {off}"
        )
