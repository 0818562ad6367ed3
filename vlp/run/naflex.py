"""Pictures at their own aspect ratio in training: what has to fit together for them."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from data_pipelines.naflex import NaflexPreprocess
from vlp.models.build import model_class
from vlp.models.dual_encoder import DualEncoder
from vlp.objectives import Objective

KIND = NaflexPreprocess.kind


def is_naflex(config: ConfigDict) -> bool:
    """Whether the pictures of a run keep their aspect ratio, as patches within a budget."""
    return config.preprocess.get("kind") == KIND


def check_naflex(config: ConfigDict, objective: Objective, model_kwargs: Mapping[str, Any]) -> None:
    """Raises ValueError where pictures are not what the image tower takes, or where model or
    objective would read the patches that are padding.

    Args:
        config: of the whole run.
        objective: its objective.
        model_kwargs: of its model.
    """
    tower = model_kwargs["image"] or {}
    if (tower.get("kind") == KIND) != is_naflex(config):
        raise ValueError(
            f'config.preprocess.kind and config.model.image.kind must both be "{KIND}" or neither, '
            f"got {config.preprocess.get('kind', 'square')!r} and {tower.get('kind', 'vit')!r}; "
            "change one of them"
        )
    if not is_naflex(config):
        return
    if tower["patch_size"] != config.preprocess.patch_size:
        raise ValueError(
            "config.preprocess.patch_size must be that of the image tower, "
            f"{tower['patch_size']}, got {config.preprocess.patch_size}; set it to that"
        )
    made = model_class(model_kwargs)
    if made is not DualEncoder or not objective.embeddings_alone:
        raise ValueError(
            f'config.preprocess.kind="{KIND}" needs a dual encoder and an objective that reads the '
            "embeddings of pictures alone, clip or siglip, for tokens of padding mean nothing; got "
            f"{made.__name__} and {config.objective.name}; take square pictures for these"
        )
    if config.objective.get("patch_drop"):
        raise ValueError(
            f'config.objective.patch_drop must be 0 with config.preprocess.kind="{KIND}", got '
            f"{config.objective.patch_drop}; a smaller max_num_patches has the same effect"
        )
