"""What the weights that a run begins with bring along: architecture, pixels, tokenizer."""

import dataclasses
import functools
import logging
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from data_pipelines.text import Tokenizer
from vlp.interop.describe import describe
from vlp.interop.formats import detect
from vlp.interop.loaded import param_shapes
from vlp.interop.tokenizer_files import NONE
from vlp.run.sections import init_sources

_log = logging.getLogger("vlp")
# What two tokenizers of one vocabulary may still cut differently.
_TEXTS = ("A photo of 2 cats, it's", "Ünïcödé  日本 ✨ naïve", "isn't `x_y` co-op 1234567", "")


@dataclasses.dataclass(frozen=True)
class Weights:
    """One source of weights, of which nothing but the card and the tokenizer is read.

    Attributes:
        path: a run, or weights of another stack.
        only: regular expressions over the names of the parameters that are taken.
    """

    path: str
    only: Sequence[str] = (".*",)

    @functools.cached_property
    def card(self) -> dict[str, Any]:
        """Without the tokenizer.

        Raises:
            ValueError: nothing known is there.
        """
        try:
            return describe(self.path, tokenizer=NONE)[0]
        except ValueError as error:
            raise ValueError(f"config.init.path {self.path}: {error}") from error

    @functools.cached_property
    def tokenizer(self) -> Tokenizer:
        """What the text tower was trained with.

        Raises:
            ValueError: they bring none.
        """
        try:
            found = describe(self.path)[1]
        except ValueError as error:
            raise ValueError(
                f"config.init.path {self.path}: {error}; or name it by config.tokenizer.path"
            ) from error
        if found is None:
            raise ValueError(
                f"config.init.path {self.path} brings no tokenizer, and its words need the one "
                "that they were trained with; name it by config.tokenizer.path"
            )
        return found

    @functools.cached_property
    def names(self) -> frozenset[str]:
        """Of the parameters that are taken."""
        try:
            wanted = [re.compile(pattern) for pattern in self.only]
        except (re.error, TypeError) as error:
            raise ValueError(
                f"config.init.only must be a list of regular expressions, got {self.only}: {error}"
            ) from None
        known = param_shapes(self.card["model"])
        return frozenset(n for n in known if any(p.fullmatch(n) for p in wanted))

    @property
    def gives_pixels(self) -> bool:
        """Whether a part of the image tower is taken."""
        return any(name.startswith("image/") for name in self.names)

    @property
    def gives_words(self) -> bool:
        """Whether anything is taken that has an entry for each token of the vocabulary."""
        kwargs = self.card["model"]
        if kwargs["text"] is None:
            return False
        text = kwargs["text"] | {"vocab_size": kwargs["text"]["vocab_size"] + 1}
        here, larger = param_shapes(kwargs), param_shapes(kwargs | {"text": text})
        return any(here[name] != larger[name] for name in self.names)

    def tokenizer_settings(self, *, extra: int = 0) -> dict[str, Any]:
        """The section `tokenizer` of a config that reads by their tokenizer.

        Args:
            extra: ids of the model's vocabulary that the config counts behind the tokenizer's.
        """
        text, tokenizer = self.card["model"]["text"], self.tokenizer
        kind, _ = detect(self.path)
        return dict(
            path=f"{kind}:{self.path.removeprefix(f'{kind}:')}",
            vocab_size=text["vocab_size"] - extra,
            length=text["length"],
            eos_id=tokenizer.eos_id,
            pad_id=tokenizer.pad_id,
        )


def weights_of(config: ConfigDict) -> list[Weights]:
    """The sources in `config.init`: its own, and one a section in it."""
    return [Weights(s["path"], tuple(s.get("only", (".*",)))) for s in init_sources(config)]


def check_tokenizer(config: ConfigDict, tokenizer: Tokenizer) -> None:
    """Refuses to read by another tokenizer than the one of the words that a run begins with.

    Raises:
        ValueError: they differ; names both and the remedies.
    """
    for weights in weights_of(config):
        if not weights.gives_words:
            continue
        try:
            theirs = weights.tokenizer
        except ValueError as error:
            _log.warning(
                "the tokenizer of the weights in %s is not known (%s): captions are read by %s",
                weights.path,
                error,
                config.tokenizer.path,
            )
            continue
        if not same_words(theirs, tokenizer):
            given = config.tokenizer.path or "one trained on the captions"
            raise ValueError(
                f"config.init takes the words of {weights.path}, so captions must be read by its "
                f'tokenizer "{theirs.name}" (sha256 {theirs.sha256[:12]}), got {given} (sha256 '
                f"{tokenizer.sha256[:12]}); leave config.tokenizer.path empty to take it along, or "
                """take no words: --config.init.only="('image/.*',)\""""
            )


def same_words(one: Tokenizer, other: Tokenizer) -> bool:
    """Whether both give the same ids: equal files, or equal words behind all ids and equal cuts."""
    if one.sha256 == other.sha256:
        return True
    if (one.vocab_size, one.eos_id) != (other.vocab_size, other.eos_id):
        return False
    ids = np.arange(one.vocab_size, dtype=np.int32)[:, None]
    return _cut(one) == _cut(other) and one.decode(ids) == other.decode(ids)


def _cut(tokenizer: Tokenizer) -> list[list[int]]:
    """The ids of some texts in front of their end token."""
    rows = tokenizer.encode(list(_TEXTS), 64).tolist()
    return [row[: row.index(tokenizer.eos_id)] for row in rows]
