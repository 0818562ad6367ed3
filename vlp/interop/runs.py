"""Our own runs: finds the checkpoint that a path means and reads what belongs to it."""

import functools
from collections.abc import Mapping
from typing import Any

from etils import epath

from data_pipelines.tokens import Tokenizer, open_tokenizer
from vlp.interop.card import FILE, check_tokenizer, validate_card
from vlp.remote import Place, fetched
from vlp.training.checkpoint.checkpoints import find_checkpoint, read_json, read_params
from vlp.training.params import leaf_paths, path_name

RUN = "run"  # the format, where it stands in front of a path
# What the choices are called in a checkpoint.
WEIGHTS = {"params": "params", "ema": "averaged", "momentum": "momentum"}


def is_run(path: Place) -> bool:
    """Whether this is the folder of a run, of its checkpoints, or of one of them."""
    inside = folder_of(path) != path
    return inside or (path / FILE).is_file() or (path / "checkpoints").is_dir()


def find_run(path: Place, *, weights: str = "auto") -> tuple[Place, epath.Path]:
    """The folders of the run and of the checkpoint that `path` means: the newest good one.

    Args:
        path: of a run, its checkpoints, or one of them.
        weights: as for `read_weights`; a checkpoint is good if these are.

    Raises:
        ValueError: no checkpoint is there, or none that is not damaged.
    """
    folder = folder_of(path)
    named = path if path.name.isdecimal() and folder != path else folder / "checkpoints"
    return folder, find_checkpoint(named, weights=functools.partial(_parts, weights=weights))


def folder_of(path: Place) -> Place:
    """The run's folder where `path` is that, its checkpoints/ or one of them."""
    if path.name == "checkpoints":
        return path.parent
    step = path.name.isdecimal() and path.parent.name == "checkpoints"
    return path.parent.parent if step else path


def read_card_of(checkpoint: epath.Path) -> dict[str, Any]:
    """The card that was committed with a checkpoint."""
    return validate_card(read_json(checkpoint, "card"), source=f"the card in {checkpoint}")


def read_tokenizer_of(folder: Place, card: Mapping[str, Any]) -> Tokenizer | None:
    """The tokenizer of a run; None where its model reads no text.

    Raises:
        ValueError: it is not there, or another one is.
    """
    entry = card["tokenizer"]
    if entry is None:
        return None
    path = folder / entry["file"]
    if not path.is_file():
        raise ValueError(
            f"the run's tokenizer must be at {path}, found none; copy it back from where it trained"
        )
    path = fetched(path) if isinstance(path, epath.Path) else path
    settings = entry.get("settings", {})
    tokenizer = open_tokenizer(entry["kind"], path, name=entry["name"], **settings)
    check_tokenizer(card, tokenizer)
    return tokenizer


def read_weights(checkpoint: epath.Path, *, weights: str) -> tuple[dict[str, Any], str]:
    """The parameters of a checkpoint, by name, and which ones they are.

    Args:
        checkpoint: its folder.
        weights: "params", "ema" (the average), "momentum", or "auto": what the run was judged by.

    Raises:
        ValueError: an unknown choice, or an average that the run did not keep.
    """
    params, used = _params(checkpoint, weights)
    return {path_name(path): leaf for path, leaf in leaf_paths(params)}, used


def check_weights(
    given: Mapping[str, Any], wanted: Mapping[str, Any], checkpoint: epath.Path
) -> None:
    """Compares names and shapes with those of the card's model.

    Raises:
        ValueError: they differ; names an array.
    """
    wrong = sorted(
        name
        for name in given.keys() | wanted.keys()
        if name not in given or name not in wanted or given[name].shape != wanted[name]
    )
    if wrong:
        raise ValueError(
            f"the weights in {checkpoint} must fit the card's model, {len(wrong)} arrays do not, "
            f"such as {wrong[0]}; put back the card this run was trained with"
        )


def _parts(checkpoint: epath.Path, *, weights: str) -> tuple[str, ...]:
    """What may be read of a checkpoint for a choice of weights, the first that is there."""
    if weights not in ("auto", *WEIGHTS):
        raise ValueError(f"weights must be one of auto, {', '.join(WEIGHTS)}, got {weights!r}")
    if weights == "auto":  # what the run itself was judged by
        weights = read_json(checkpoint, "card").get("weights", weights)
    if weights == "auto":  # an earlier run, which does not say
        return WEIGHTS["ema"], WEIGHTS["params"]
    return (WEIGHTS[weights],)


def _params(checkpoint: epath.Path, weights: str) -> tuple[Any, str]:
    first, *others = _parts(checkpoint, weights=weights)
    names = {part: name for name, part in WEIGHTS.items()}
    try:
        return read_params(checkpoint, which=first), names[first]
    except ValueError:
        if not others:
            raise
        return read_params(checkpoint, which=others[0]), names[others[0]]
