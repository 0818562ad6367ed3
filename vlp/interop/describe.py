"""What weights are made for, without reading them: their card and their tokenizer."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data_pipelines.text import Tokenizer
from vlp.interop import hub, runs
from vlp.interop.card import build_card, read_card
from vlp.interop.foreign import Foreign
from vlp.interop.formats import READERS, detect
from vlp.interop.runs import RUN
from vlp.interop.tokenizer_files import NONE, find_tokenizer
from vlp.interop.weights import open_tensors

_log = logging.getLogger("vlp")


def describe(
    source: str | os.PathLike, *, tokenizer: str | os.PathLike | None = None
) -> tuple[dict[str, Any], Tokenizer | None]:
    """The card of a model and its tokenizer, as `load_run` finds them; no weight is read.

    Args:
        source, tokenizer: as in `vlp.interop.load.load_run`.

    Raises:
        ValueError: nothing known is there, or its text tower has no tokenizer.
    """
    kind, path = detect(source)
    if kind != RUN:
        return card_of(READERS[kind](path, read=open_tensors), path, tokenizer)
    folder = runs.folder_of(path)
    card = read_card(folder)
    if tokenizer == NONE:
        card["tokenizer"] = None
    return card, runs.read_tokenizer_of(folder, card)


def card_of(
    foreign: Foreign, path: Path, tokenizer: str | os.PathLike | None
) -> tuple[dict[str, Any], Tokenizer | None]:
    """The card of a model of another stack, and the tokenizer that it is used with."""
    kwargs = foreign.kwargs
    found = find_tokenizer(foreign, tokenizer, source=path) if kwargs["text"] else None
    if kwargs["text"]:
        _say_end(kwargs["text"], found, path)
    if found is not None and kwargs["text"].get("pool") not in ("eot", "argmax"):
        # Such towers do not look for these ids themselves: the tokenizer knows them.
        plain = kwargs["text"].get("kind", "transformer") == "transformer"
        ends = dict(eos_id=found.eos_id) if plain else {}  # BERT's tower has no such setting
        kwargs |= {"text": kwargs["text"] | ends | dict(pad_id=found.pad_id)}
    preprocess, licence = foreign.preprocess, foreign.licence
    if licence == "unknown":  # the files do not tell: the model card beside them may
        licence = hub.licence(path.parent if path.is_file() else path)
    place = hub.named(path)
    if path.is_dir():
        place = f"{place}/{Path(foreign.tensors.source).name}"  # which of those that may be there
    card = build_card(
        model=kwargs,
        preprocess=None if preprocess is None else preprocess.to_dict(),
        tokenizer=found,
        text_length=kwargs["text"]["length"] if kwargs["text"] else 0,
        objective=foreign.objective,
        licence=licence,
        attribution=f"Weights of {foreign.architecture} ({foreign.stack}), from {place}.",
    )
    return card, found


def _say_end(text: Mapping[str, Any], tokenizer: Tokenizer | None, path: Path) -> None:
    """Says where a tower takes its vector from a token that does not end its captions."""
    pool, end = text.get("pool"), text.get("eos_id", 0)
    wrong = None
    if pool == "eot" and end >= text["vocab_size"]:
        wrong = f"{end}, of {text['vocab_size']} tokens"
    elif pool == "eot" and tokenizer is not None and end != tokenizer.eos_id:
        wrong = f"{end}, and the tokenizer ends captions by {tokenizer.eos_id}"
    elif pool == "argmax" and tokenizer is not None and tokenizer.eos_id < tokenizer.pad_id:
        wrong = f"the largest one, and the tokenizer's is below its padding {tokenizer.pad_id}"
    if wrong:
        _log.warning(
            "%s: the text tower's end token is %s: what it embeds is not the end of a caption, as "
            "in the stack that wrote it; correct the configuration (eos_token_id), or put the "
            "tokenizer of these weights there",
            path,
            wrong,
        )
